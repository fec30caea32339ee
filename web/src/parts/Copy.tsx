import { ActionIcon, Code, CopyButton, Group, Tooltip } from '@mantine/core';
import { IconCheck, IconCopy, IconDownload } from '@tabler/icons-react';
import { save } from './save';

/** A text for elsewhere, with a button that copies it, and one that saves it where a file has a name. */
export function Copyable({ text, label, file }: { text: string; label: string; file?: string }) {
  return (
    <Group gap={4} wrap="nowrap" align="flex-start">
      <Code block className="mono" style={{ flex: 1, overflowWrap: 'anywhere', whiteSpace: 'pre-wrap' }}>
        {text}
      </Code>
      <CopyButton value={text} timeout={2000}>
        {({ copied, copy }) => (
          <Tooltip label={copied ? 'Copied' : 'Copy'}>
            <ActionIcon onClick={copy} aria-label={`Copy ${label}`}>
              {copied ? <IconCheck size={16} /> : <IconCopy size={16} />}
            </ActionIcon>
          </Tooltip>
        )}
      </CopyButton>
      {file && (
        <Tooltip label="Save as a file">
          <ActionIcon onClick={() => save(file, `${text}\n`)} aria-label={`Save ${label} as a file`}>
            <IconDownload size={16} />
          </ActionIcon>
        </Tooltip>
      )}
    </Group>
  );
}
