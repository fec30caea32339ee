import { Loader, Modal, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { api, body } from '~/api/client';
import { Copyable } from './Copy';
import { ErrorNote } from './ErrorNote';

interface Props {
  title: string;
  pipelines: readonly string[];
  close: () => void;
}

/** Pipelines as the text that `millrace apply` reads, with their connections. */
export function Yaml({ title, pipelines, close }: Props) {
  const text = useQuery({
    queryKey: ['pipelines', 'yaml', pipelines],
    queryFn: () =>
      body(api.GET('/api/millrace/v1/export', { params: { query: { pipeline: [...pipelines] } } })),
  });
  return (
    <Modal
      opened
      onClose={close}
      size="lg"
      title={<Text fw={600}>{title}</Text>}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <Text c="dimmed" mb="sm">
        <span className="mono">millrace apply</span> makes the same of it elsewhere. Secrets are variables.
      </Text>
      <ErrorNote error={text.error} again={() => void text.refetch()} />
      {text.isPending && <Loader size="sm" />}
      {text.data && <Copyable text={text.data.text} label="the YAML" />}
    </Modal>
  );
}
