import { Loader, Modal, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { api, body } from '~/api/client';
import { Copyable } from './Copy';
import { ErrorNote } from './ErrorNote';

/** Parts of the file that stand for no pipeline. */
type Section = 'settings' | 'usage' | 'alert_channels';

interface Props {
  title: string;
  /** With their connections. */
  pipelines?: readonly string[];
  /** Only the mappings of these event types of the one pipeline; of none: of all of them. */
  mappings?: readonly string[];
  /** Only these parts of the file, of all that there is. */
  sections?: readonly Section[];
  /** What is said where these parts say nothing. */
  nothing?: string;
  close: () => void;
}

/** What is there as the text that `millrace apply` reads; or mappings, as `mapping apply` does. */
export function Yaml({ title, pipelines = [], mappings, sections = [], nothing = '', close }: Props) {
  const text = useQuery({
    queryKey: ['pipelines', 'yaml', pipelines, mappings, sections],
    queryFn: () => written(pipelines, mappings, sections),
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
        {!mappings && !sections.includes('settings') && ' Secrets are variables.'}
      </Text>
      <ErrorNote error={text.error} again={() => void text.refetch()} />
      {text.isPending && <Loader size="sm" />}
      {text.data && <Copyable text={text.data} label="the YAML" />}
      {text.data === '' && <Text>{nothing}</Text>}
    </Modal>
  );
}

async function written(
  pipelines: readonly string[],
  mappings: readonly string[] | undefined,
  sections: readonly Section[],
): Promise<string> {
  if (mappings) {
    const params = { path: { pipeline: pipelines[0] ?? '' }, query: { event_type: [...mappings] } };
    return (await body(api.GET('/api/millrace/v1/pipelines/{pipeline}/mapping-file', { params }))).yaml;
  }
  const params = { query: { pipeline: [...pipelines], section: [...sections] } };
  return (await body(api.GET('/api/millrace/v1/export', { params }))).text;
}
