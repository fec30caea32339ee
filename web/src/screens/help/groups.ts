/** The guides that come with this version, as people look for them. */

export interface Page {
  /** The last part of its address, and the name of its file. */
  name: string;
  title: string;
}

export const GROUPS: readonly { title: string; pages: readonly Page[] }[] = [
  {
    title: 'Begin',
    pages: [
      { name: 'first-pipeline', title: 'Your first pipeline' },
      { name: 'screens', title: 'In a browser' },
      { name: 'simulator', title: 'The simulator' },
    ],
  },
  {
    title: 'What is read',
    pages: [
      { name: 'connectors', title: 'Connectors' },
      { name: 'database-services', title: 'Databases that a service runs' },
      { name: 'files', title: 'Files' },
      { name: 'webhooks', title: 'Webhooks: systems that send by themselves' },
    ],
  },
  {
    title: 'What becomes of it',
    pages: [
      { name: 'transformations-python', title: 'Transformations in Python' },
      { name: 'transformations-blocks', title: 'Transformations of blocks' },
      { name: 'nested-json', title: 'Nested JSON' },
      { name: 'mapping', title: 'The Schema Mapper' },
      { name: 'types', title: 'Types' },
      { name: 'failed-events', title: 'Failed events' },
    ],
  },
  {
    title: 'Keeping it running',
    pages: [
      { name: 'service', title: 'Running Millrace for months' },
      { name: 'operations', title: 'Operations' },
      { name: 'monitoring', title: 'Monitoring' },
      { name: 'alerts', title: 'Being told' },
      { name: 'usage', title: 'How much is moved' },
      { name: 'errors', title: 'Errors' },
    ],
  },
  {
    title: 'People',
    pages: [
      { name: 'people', title: 'People, keys and who did what' },
      { name: 'security', title: 'Security' },
    ],
  },
  {
    title: 'For programs and their authors',
    pages: [
      { name: 'rest', title: 'The REST APIs' },
      { name: 'remote', title: 'The command line at a server' },
      { name: 'pipelines', title: 'The file of pipelines' },
      { name: 'first-source', title: 'Your first source' },
      { name: 'first-destination', title: 'Your first destination' },
    ],
  },
];
