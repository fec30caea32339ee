import type { Schemas } from '~/api/client';

type Workspace = Schemas['Workspace'];
export type Key = keyof Workspace;

export interface Setting {
  key: Key;
  label: string;
  told?: string;
  choices?: { value: string; label: string }[];
  /** What the number counts. */
  unit?: string;
}

/** Settings in the words of people, by what they are about. */
export const GROUPS: readonly { title: string; settings: readonly Setting[] }[] = [
  {
    title: 'What is kept',
    settings: [
      { key: 'retention_days', label: 'Loaded files and raw rows', unit: 'days' },
      { key: 'reject_retention_days', label: 'Failed events', unit: 'days' },
      { key: 'job_retention_days', label: 'Jobs', unit: 'days' },
    ],
  },
  {
    title: 'How pipelines work',
    settings: [
      {
        key: 'naming',
        label: 'Names of new tables and columns',
        told: 'Of pipelines that are made from now on',
        choices: [
          { value: 'edge', label: 'Lower case, with underscores' },
          { value: 'classic', label: 'As older workspaces have them' },
        ],
      },
      { key: 'metadata_prefix', label: 'Prefix of columns that Millrace adds' },
      { key: 'high_priority_percent', label: 'Pipelines that may have high priority', unit: '%' },
      { key: 'legacy_frequency', label: 'Allow the shorter intervals of older workspaces' },
      {
        key: 'stage_url',
        label: 'Stage',
        told: 'A bucket in which rows wait between reading and loading; empty: a folder of the server',
      },
    ],
  },
  {
    title: 'Scripts',
    settings: [
      { key: 'script_seconds', label: 'A script may take for one event', unit: 'seconds' },
      { key: 'script_memory_mib', label: 'Memory of a script', unit: 'MiB' },
      {
        key: 'allow_unsandboxed_python',
        label: 'Run scripts without a sandbox',
        told: 'Only where you trust everybody who writes one: they read what this server reads',
      },
    ],
  },
  {
    title: 'Links to and from other systems',
    settings: [
      {
        key: 'public_url',
        label: 'Address of this server',
        told: 'Where people reach it, like https://millrace.example.com: links in mail begin so, and SAML needs it',
      },
      {
        key: 'lineage_url',
        label: 'OpenLineage',
        told: 'An address that takes events of runs and data sets; empty: nothing is told',
      },
    ],
  },
  {
    title: 'Safety',
    settings: [
      {
        key: 'allow_private_addresses',
        label: 'Connections may reach private addresses',
        told: 'For systems of your own network, and of this machine',
      },
      {
        key: 'allow_server_credentials',
        label: 'Connections without keys open buckets as this server',
        told: 'Any bucket that the credentials of the machine open, for everybody who may save a connection',
      },
      { key: 'open_metrics', label: 'Anybody may read /metrics' },
      { key: 'password_memory_mib', label: 'Memory to hash a password', unit: 'MiB' },
      { key: 'password_passes', label: 'Passes to hash a password' },
    ],
  },
];

/** What is another value now. */
export function changedOf(saved: Workspace, now: Workspace): Partial<Workspace> {
  return Object.fromEntries(Object.entries(now).filter(([key, value]) => value !== saved[key as Key]));
}
