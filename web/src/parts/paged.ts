import type { InfiniteData, UseInfiniteQueryResult } from '@tanstack/react-query';

/** What a table shows of an answer that comes in pages. */
export const paged = <T>(answer: UseInfiniteQueryResult<InfiniteData<{ items: T[] }>>) => ({
  rows: answer.data?.pages.flatMap((page) => page.items),
  error: answer.error,
  again: () => void answer.refetch(),
  more: {
    next: answer.hasNextPage,
    loading: answer.isFetchingNextPage,
    load: () => void answer.fetchNextPage(),
  },
});
