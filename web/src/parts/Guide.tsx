import { List, Text, Title } from '@mantine/core';
import { createContext, type ReactNode, useContext } from 'react';
import { Link } from 'react-router';
import { type Block, blocksOf, type Span, spansOf } from './markdown';
import { Scroll } from './Scroll';

/** The address here of what a link leads to that is none of the web; null where there is none. */
type Within = (href: string) => string | null;

const Here = createContext<Within | null>(null);

/**
 * A guide, from the Markdown that it ships with. Nothing in it is taken for HTML. `within`: it is a page of its own,
 * with tables and with links to others; else it stands beside a form.
 */
export function Guide({ text, within = null }: { text: string; within?: Within | null }) {
  return (
    <Here value={within}>
      <div className="guide">
        {blocksOf(text).map((block, index) => (
          <Drawn key={index} block={block} first={index === 0} />
        ))}
      </div>
    </Here>
  );
}

function Drawn({ block, first }: { block: Block; first: boolean }) {
  const page = useContext(Here) !== null;
  switch (block.kind) {
    case 'heading':
      return (
        <Title
          order={page && block.level === 2 ? 2 : 3}
          id={page ? block.text.toLowerCase().replaceAll(/[^\w]+/g, '-') : undefined}
          mt={first ? 0 : page ? 'lg' : 'md'}
          mb={4}
        >
          {block.text}
        </Title>
      );
    case 'list':
      return <Items items={block.items} ordered={block.ordered} start={block.start} />;
    case 'table':
      // Beside a form there is no room for columns, and their names say nothing in a line.
      return page ? (
        <Table head={block.head} rows={block.rows} />
      ) : (
        <Items items={block.rows.map((cells) => cells.filter(Boolean).join(': '))} />
      );
    case 'code':
      return (
        <Scroll label="Example" className="sample">
          <pre className="mono">{block.text}</pre>
        </Scroll>
      );
    case 'text':
      return (
        <Text size={page ? 'md' : 'sm'} mb="xs">
          <Inline text={block.text} />
        </Text>
      );
  }
}

interface ItemsProps {
  items: readonly string[];
  ordered?: boolean;
  start?: number;
}

function Items({ items, ordered = false, start = 1 }: ItemsProps) {
  const page = useContext(Here) !== null;
  return (
    <List
      type={ordered ? 'ordered' : 'unordered'}
      {...(ordered && { start })}
      size={page ? 'md' : 'sm'}
      my="xs"
      spacing={4}
    >
      {items.map((item, at) => (
        <List.Item key={at}>
          <Inline text={item} />
        </List.Item>
      ))}
    </List>
  );
}

function Table({ head, rows }: { head: readonly string[]; rows: readonly string[][] }) {
  return (
    <Scroll label={head.filter(Boolean).join(', ')} className="card">
      <table className="table">
        <thead>
          <tr>
            {head.map((cell, at) => (
              <th key={at} scope="col">
                <Inline text={cell} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((cells, index) => (
            <tr key={index}>
              {cells.map((cell, at) => (
                <td key={at}>
                  <Inline text={cell} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

function Inline({ text }: { text: string }): ReactNode {
  const within = useContext(Here);
  return spansOf(text).map((span: Span, index) => {
    if (span.kind === 'code')
      return (
        <code key={index} className="mono">
          {span.text}
        </code>
      );
    if (span.kind === 'strong')
      return (
        <b key={index}>
          <Inline text={span.text} />
        </b>
      );
    if (span.kind === 'link' && /^https?:\/\//.test(span.href ?? ''))
      return (
        <a key={index} href={span.href} target="_blank" rel="noreferrer">
          {span.text}
        </a>
      );
    const here = span.kind === 'link' ? within?.(span.href ?? '') : null;
    return here ? (
      <Link key={index} to={here}>
        {span.text}
      </Link>
    ) : (
      span.text
    );
  });
}
