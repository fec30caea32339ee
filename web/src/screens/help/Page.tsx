import { Button, Skeleton } from '@mantine/core';
import { IconArrowLeft, IconBook } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useEffect } from 'react';
import { Link, useLocation, useParams } from 'react-router';
import { at } from '~/app/places';
import { Empty } from '~/parts/Empty';
import { ErrorNote } from '~/parts/ErrorNote';
import { Guide } from '~/parts/Guide';
import { PageHead } from '~/parts/PageHead';
import { GROUPS } from './groups';
import { pageOf, texts } from './guides';

/** One guide. */
export function Component() {
  const { guide = '' } = useParams();
  const { hash } = useLocation();
  const read = texts.get(guide);
  const text = useQuery({
    queryKey: ['guide', guide],
    queryFn: () => read?.() ?? null,
    staleTime: Number.POSITIVE_INFINITY,
  });
  // The place that the address names is there only now.
  useEffect(() => {
    if (text.data && hash) document.getElementById(decodeURIComponent(hash.slice(1)))?.scrollIntoView();
  }, [text.data, hash]);
  const title = GROUPS.flatMap(({ pages }) => pages).find(({ name }) => name === guide)?.title;
  const all = (
    <Button
      component={Link}
      to={at.help()}
      size="compact-sm"
      variant="subtle"
      color="gray"
      ml={-10}
      mb={4}
      leftSection={<IconArrowLeft size={16} />}
    >
      All guides
    </Button>
  );
  if (!read || !title) return <Empty icon={IconBook} title="There is no such guide" action={all} />;
  return (
    <div className="content" data-narrow>
      <div>{all}</div>
      <PageHead title={title} />
      <ErrorNote error={text.error} again={() => void text.refetch()} />
      {text.isPending && <Skeleton height={420} />}
      {text.data && (
        <article className="card" style={{ padding: 20 }}>
          <Guide text={text.data.replace(/^(<!--.*-->\s*)?# .*\n/, '')} within={within} />
        </article>
      )}
    </div>
  );
}

/** The address here of what a guide leads to. */
function within(href: string): string | null {
  if (href.startsWith('#')) return href;
  const page = pageOf(href);
  return page && `${at.help(page.name)}${page.hash && `#${page.hash}`}`;
}
