import type { Icon } from '@tabler/icons-react';

export interface Command {
  label: string;
  kind: string;
  icon: Icon;
  to: string;
}

/** Commands whose names have all words of the text, best first: those that begin with it, then by length. */
export function matching(commands: readonly Command[], text: string): Command[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const begins = (one: Command) => (words[0] && one.label.toLowerCase().startsWith(words[0]) ? 0 : 1);
  const found = commands.filter((one) => words.every((word) => one.label.toLowerCase().includes(word)));
  if (words.length === 0) return found;
  return found.sort((a, b) => begins(a) - begins(b) || a.label.length - b.label.length);
}
