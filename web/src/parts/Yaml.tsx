import { Loader, Modal, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { api, body } from '~/api/client';
import { Copyable } from './Copy';
import { ErrorNote } from './ErrorNote';

interface Props {
  title: string;
  pipelines: readonly string[];
  /** Only the mappings of these event types of the one pipeline; of none: of all of them. */
  mappings?: readonly string[];
  close: () => void;
}

/** Pipelines as the text that `millrace apply` reads, with their connections; or mappings, as `mapping apply` does. */
export function Yaml({ title, pipelines, mappings, close }: Props) {
  const text = useQuery({
    queryKey: ['pipelines', 'yaml', pipelines, mappings],
    queryFn: () => written(pipelines, mappings),
    staleTime: 0,
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
        <span className="mono">millrace {mappings && 'mapping '}apply</span> makes the same of it elsewhere.
        {!mappings && ' Secrets are variables.'}
      </Text>
      <ErrorNote error={text.error} again={() => void text.refetch()} />
      {text.isPending && <Loader size="sm" />}
      {text.data && <Copyable text={text.data} label="the YAML" />}
    </Modal>
  );
}

async function written(
  [pipeline = '', ...others]: readonly string[],
  mappings?: readonly string[],
): Promise<string> {
  if (mappings) {
    const params = { path: { pipeline }, query: { event_type: [...mappings] } };
    return (await body(api.GET('/api/millrace/v1/pipelines/{pipeline}/mapping-file', { params }))).yaml;
  }
  const params = { query: { pipeline: [pipeline, ...others] } };
  return (await body(api.GET('/api/millrace/v1/export', { params }))).text;
}
