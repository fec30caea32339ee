/** Why rows were left out on purpose, in the words of people. */
import { sentence } from './statuses';

const REASONS: Record<string, string> = {
  repeated: 'were read before',
  in_history: 'came with the history',
  deleted_later: 'were deleted meanwhile',
  truncated: 'told that a table was emptied',
  transformation: 'by the transformation',
};

/** What no list knows is a reason of a mapping's policy. */
export const leftOut = (reason: string): string =>
  REASONS[reason] ?? `by the mapping: ${sentence(reason).toLowerCase()}`;
