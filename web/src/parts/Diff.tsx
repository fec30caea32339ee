import '~/parts/panes.css';
import { Text } from '@mantine/core';

/** Lines of a unified diff; what was added and taken away is marked by sign and by colour. */
export function Diff({ lines, none }: { lines: readonly string[]; none: string }) {
  if (lines.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        {none}
      </Text>
    );
  }
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard.
    <pre className="diff mono" tabIndex={0}>
      {lines
        .filter((line) => !line.startsWith('---') && !line.startsWith('+++'))
        .map((line, index) => (
          <span key={index} data-sign={line.startsWith('@@') ? '@' : line.charAt(0)}>
            {`${line.replace(/\n$/, '')}\n`}
          </span>
        ))}
    </pre>
  );
}
