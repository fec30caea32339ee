/** Server-sent events of something that goes on. */
import { useEffect, useRef } from 'react';

/**
 * Calls `heard` with each event of the address while the component is shown. Browsers connect again by themselves; the
 * stream is closed when an event of the kind `last` came, or when `path` is null.
 */
export function useEvents(
  path: string | null,
  kinds: readonly string[],
  last: readonly string[],
  heard: (kind: string, data: unknown) => void,
): void {
  const latest = useRef(heard);
  latest.current = heard;
  const names = kinds.join(' ');
  const final = last.join(' ');
  useEffect(() => {
    if (path === null) return;
    const source = new EventSource(path);
    for (const kind of names.split(' ')) {
      source.addEventListener(kind, (event) => {
        latest.current(kind, JSON.parse((event as MessageEvent<string>).data));
        if (final.split(' ').includes(kind)) source.close();
      });
    }
    return () => source.close();
  }, [path, names, final]);
}
