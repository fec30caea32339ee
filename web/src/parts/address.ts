import { useDebouncedValue } from '@mantine/hooks';
import { useEffect, useRef, useState } from 'react';
import { useSearchParams } from 'react-router';

const REST_MS = 250;

// What was chosen and does not stand in the address yet. Another choice meanwhile is put beside it: the router hands out
// the address that it shows, and the later of two changes would take back the earlier one.
const coming = new Map<string, string | null>();

/**
 * What is chosen on a screen stands in its address, so that others can open it; choosing is no step of its own back.
 * All that changes at once is given at once; null takes away.
 */
export function useAddress() {
  const [asked, ask] = useSearchParams();
  const set = (changes: Readonly<Record<string, string | null>>) => {
    for (const [key, value] of Object.entries(changes)) coming.set(key, value || null);
    ask(
      (now) => {
        for (const [key, value] of coming) {
          if (value) now.set(key, value);
          else now.delete(key);
        }
        return now;
      },
      { replace: true },
    );
  };
  useEffect(() => {
    for (const [key, value] of coming) if (asked.get(key) === value) coming.delete(key);
  }, [asked]);
  useEffect(() => () => coming.clear(), []);
  return [asked, set] as const;
}

/** The text of a search: as it is typed, how to change it, and as it stands in the address once it has come to rest. */
export function useSought() {
  const [asked, set] = useAddress();
  const there = asked.get('search') ?? '';
  const [text, type] = useState(there);
  const [rested] = useDebouncedValue(text.trim(), REST_MS);
  // Which of both changed last is what the other one follows.
  const same = useRef(there);
  useEffect(() => {
    if (there === same.current) return;
    same.current = there;
    type(there);
  }, [there]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: when what was typed has come to rest, not with each address
  useEffect(() => {
    if (rested === same.current) return;
    same.current = rested;
    set({ search: rested || null });
  }, [rested]);
  return [text, type, there] as const;
}
