/** What is said to those who do not see that another screen came, or that something ended. */
import { useSyncExternalStore } from 'react';

let said = '';
const listeners = new Set<() => void>();

export function announce(text: string): void {
  if (text === said) return;
  said = text;
  for (const one of listeners) one();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const useAnnounced = (): string => useSyncExternalStore(subscribe, () => said);
