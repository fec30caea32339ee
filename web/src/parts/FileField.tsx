import { Button, FileButton, Group, Input, Text } from '@mantine/core';
import { IconFile, IconUpload } from '@tabler/icons-react';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import type { Schemas } from '~/api/client';
import { segment, send } from '~/api/client';
import { bytes } from '~/words/numbers';
import { rowsOf } from './csv';
import { ErrorNote } from './ErrorNote';
import { Scroll } from './Scroll';

interface Props {
  label: string;
  description?: ReactNode;
  withAsterisk?: boolean;
  error?: string | null;
  /** Its first lines are shown. */
  lines: boolean;
  /** The name under which the server keeps the file. */
  value: string;
  change: (name: string) => void;
}

const SHOWN = 6;

/** A file that settings name, sent to the server. */
export function FileField({ label, description, withAsterisk, error, lines, value, change }: Props) {
  const client = useQueryClient();
  const [rows, setRows] = useState<string[][] | null>(null);
  const sent = useMutation({
    mutationFn: async (file: File) => {
      const stored = await send<Schemas['Stored']>(
        `/api/millrace/v1/files/${segment(file.name)}`,
        'PUT',
        file,
      );
      if (lines) setRows(rowsOf(await file.slice(0, 64_000).text()).slice(0, SHOWN + 1));
      return stored;
    },
    onSuccess: (stored) => {
      change(stored.name);
      // One of the same name may be there already.
      void client.resetQueries({ queryKey: ['names'] });
    },
  });
  return (
    <Input.Wrapper label={label} description={description} withAsterisk={withAsterisk ?? false} error={error}>
      <Group gap="sm" mt={4}>
        <FileButton onChange={(file) => file && sent.mutate(file)} inputProps={{ 'aria-label': label }}>
          {(props) => (
            <Button
              {...props}
              variant="default"
              leftSection={<IconUpload size={16} />}
              loading={sent.isPending}
            >
              {value ? 'Choose another file' : 'Choose a file'}
            </Button>
          )}
        </FileButton>
        {value && (
          <Group gap={6}>
            <IconFile size={16} />
            <Text size="sm">
              {value.split('/').at(-1)}
              {sent.data && ` (${bytes(sent.data.size_bytes)})`}
            </Text>
          </Group>
        )}
      </Group>
      <ErrorNote error={sent.error} />
      {rows && rows.length > 1 && (
        <Scroll label="The file" className="card" style={{ marginTop: 8 }}>
          <table className="table" aria-label="First lines of the file">
            <thead>
              <tr>
                {rows[0]?.map((cell, index) => (
                  <th key={index}>{cell}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.slice(1).map((row, line) => (
                <tr key={line}>
                  {row.map((cell, index) => (
                    <td key={index}>{cell}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
    </Input.Wrapper>
  );
}
