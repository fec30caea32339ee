import { useDebouncedValue } from '@mantine/hooks';
import { useEffect, useRef, useState } from 'react';
import { useSearchParams } from 'react-router';

const REST_MS = 250;

/**
 * What is chosen on a screen stands in its address, so that others can open it; choosing is no step of its own back.
 * All that changes at once is given at once; null takes away.
 */
export function useAddress() {
  const [asked, ask] = useSearchParams();
  const set = (changes: Readonly<Record<string, string | null>>) =>
    ask(
      (now) => {
        for (const [key, value] of Object.entries(changes)) {
          if (value) now.set(key, value);
          else now.delete(key);
        }
        return now;
      },
      { replace: true },
    );
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
