/** Addresses of screens, so that nobody writes them twice. */
const part = encodeURIComponent;

export const at = {
  pipelines: '/pipelines',
  newPipeline: '/pipelines/new',
  draft: (number: number) => `/pipelines/new/${number}`,
  pipeline: (name: string, tab = '') => `/pipelines/${part(name)}${tab && `/${tab}`}`,
  job: (pipeline: string, id: number) => `/pipelines/${part(pipeline)}/jobs/${id}`,
  jobs: '/jobs',
  destinations: '/destinations',
  newDestination: '/destinations/new',
  destination: (name: string) => `/destinations/${part(name)}`,
  failed: '/failed-events',
  alerts: '/alerts',
  channels: '/alerts/channels',
  told: (of = '') => `/alerts/preferences${of && `?${new URLSearchParams({ of })}`}`,
  deliveries: (alert?: number) => `/alerts/deliveries${alert === undefined ? '' : `?alert=${alert}`}`,
  activity: '/activity',
  usage: '/usage',
  team: '/team',
  keys: '/keys',
  security: '/security',
  settings: '/settings',
  health: '/health',
  help: (guide = '') => `/help${guide && `/${part(guide)}`}`,
  signIn: '/sign-in',
  welcome: '/welcome',
} as const;
