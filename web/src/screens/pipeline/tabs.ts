interface Tab {
  tab: string;
  label: string;
  /** The types of sources that have it; left out: all. */
  of?: readonly string[];
}

/** The tabs of a pipeline, in their order: one line for each. Their routes are in app/routes.tsx. */
export const tabs: readonly Tab[] = [
  { tab: '', label: 'Overview' },
  { tab: 'jobs', label: 'Jobs' },
  { tab: 'objects', label: 'Objects' },
  { tab: 'transformations', label: 'Transformations' },
  { tab: 'mapper', label: 'Schema mapper' },
  { tab: 'failed-events', label: 'Failed events' },
  { tab: 'files', label: 'File log', of: ['files'] },
  { tab: 'reconcile', label: 'Reconcile' },
  { tab: 'activity', label: 'Activity' },
  { tab: 'settings', label: 'Settings' },
];
