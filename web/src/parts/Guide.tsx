import { List, Text, Title } from '@mantine/core';
import type { ReactNode } from 'react';
import { type Block, blocksOf, type Span, spansOf } from './markdown';

/** The guide of a connector, from the Markdown that it ships with. Nothing in it is taken for HTML. */
export function Guide({ text }: { text: string }) {
  return (
    <div className="guide">
      {blocksOf(text).map((block, index) => (
        <Drawn key={index} block={block} first={index === 0} />
      ))}
    </div>
  );
}

function Drawn({ block, first }: { block: Block; first: boolean }) {
  switch (block.kind) {
    case 'heading':
      return (
        <Title order={3} mt={first ? 0 : 'md'} mb={4}>
          {block.text}
        </Title>
      );
    case 'list':
      return (
        <List type={block.ordered ? 'ordered' : 'unordered'} size="sm" my="xs" spacing={4}>
          {block.items.map((item, at) => (
            <List.Item key={at}>{inline(item)}</List.Item>
          ))}
        </List>
      );
    case 'code':
      return <pre className="mono">{block.text}</pre>;
    case 'text':
      return (
        <Text size="sm" mb="xs">
          {inline(block.text)}
        </Text>
      );
  }
}

function inline(text: string): ReactNode[] {
  return spansOf(text).map((span: Span, index) => {
    if (span.kind === 'code')
      return (
        <code key={index} className="mono">
          {span.text}
        </code>
      );
    if (span.kind === 'strong') return <b key={index}>{span.text}</b>;
    if (span.kind === 'link')
      return (
        <a key={index} href={span.href} target="_blank" rel="noreferrer">
          {span.text}
        </a>
      );
    return span.text;
  });
}
