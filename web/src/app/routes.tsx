/** Every screen by its address, one line each. A screen is a folder of `screens` whose index exports `Component`. */
import { createBrowserRouter, Navigate, type RouteObject } from 'react-router';
import { Fault } from './Fault';
import { Frame } from './frame/Frame';

/** The drawers of failed events, of one pipeline and of all. */
const failedEvents: RouteObject[] = [
  { path: 'trace', lazy: () => import('~/screens/failed-events/Trace') },
  { path: ':of/:stream/:stage/:code', lazy: () => import('~/screens/failed-events/Details') },
];

/** The drawer of a line of the log, of one pipeline or of all. */
const activity: RouteObject[] = [{ path: ':line', lazy: () => import('~/screens/activity/Line') }];

export const router = createBrowserRouter([
  {
    errorElement: <Fault />,
    hydrateFallbackElement: <div />,
    children: [
      { path: '/sign-in', lazy: () => import('~/screens/sign-in') },
      { path: '/welcome', lazy: () => import('~/screens/welcome') },
      { path: '/join', lazy: () => import('~/screens/link') },
      { path: '/reset', lazy: () => import('~/screens/link') },
    ],
  },
  {
    element: <Frame />,
    errorElement: <Fault />,
    hydrateFallbackElement: <div />,
    children: [
      { index: true, element: <Navigate to="/pipelines" replace /> },
      { path: 'pipelines', lazy: () => import('~/screens/pipelines') },
      { path: 'start', lazy: () => import('~/screens/start') },
      { path: 'pipelines/new/:draft?', lazy: () => import('~/screens/create') },
      {
        path: 'pipelines/:pipeline',
        lazy: () => import('~/screens/pipeline'),
        children: [
          { index: true, lazy: () => import('~/screens/pipeline/overview') },
          {
            path: 'jobs',
            lazy: () => import('~/screens/pipeline/jobs'),
            children: [{ path: ':job', lazy: () => import('~/screens/pipeline/jobs/Details') }],
          },
          { path: 'objects', lazy: () => import('~/screens/pipeline/objects') },
          {
            path: 'transformations',
            handle: { wide: true },
            lazy: () => import('~/screens/transformations'),
            children: [{ path: 'versions', lazy: () => import('~/screens/transformations/Versions') }],
          },
          { path: 'reconcile', lazy: () => import('~/screens/reconcile') },
          { path: 'mapper', handle: { wide: true }, lazy: () => import('~/screens/mapper') },
          {
            path: 'mapper/:eventType',
            handle: { wide: true },
            lazy: () => import('~/screens/mapper/EventType'),
            children: [{ path: 'versions', lazy: () => import('~/screens/mapper/Versions') }],
          },
          {
            path: 'failed-events',
            lazy: () => import('~/screens/failed-events'),
            children: failedEvents,
          },
          { path: 'files', lazy: () => import('~/screens/pipeline/files') },
          { path: 'activity', lazy: () => import('~/screens/pipeline/activity'), children: activity },
          { path: 'settings', lazy: () => import('~/screens/pipeline/settings') },
        ],
      },
      {
        path: 'alerts',
        lazy: () => import('~/screens/alerts'),
        children: [
          {
            lazy: () => import('~/screens/alerts/List'),
            children: [
              { index: true, element: null },
              { path: 'channels', lazy: () => import('~/screens/alerts/Channels') },
            ],
          },
          { path: 'preferences', lazy: () => import('~/screens/alerts/Preferences') },
          { path: 'deliveries', lazy: () => import('~/screens/alerts/Deliveries') },
        ],
      },
      { path: 'jobs', lazy: () => import('~/screens/jobs') },
      { path: 'usage', lazy: () => import('~/screens/usage') },
      { path: 'team', lazy: () => import('~/screens/team') },
      { path: 'keys', lazy: () => import('~/screens/keys') },
      { path: 'security', lazy: () => import('~/screens/security') },
      { path: 'settings', lazy: () => import('~/screens/settings') },
      { path: 'health', lazy: () => import('~/screens/health') },
      { path: 'help', lazy: () => import('~/screens/help') },
      { path: 'help/:guide', lazy: () => import('~/screens/help/Page') },
      { path: 'activity', lazy: () => import('~/screens/activity'), children: activity },
      { path: 'destinations', lazy: () => import('~/screens/destinations') },
      { path: 'destinations/new', lazy: () => import('~/screens/destinations/New') },
      {
        path: 'destinations/:destination',
        lazy: () => import('~/screens/destination'),
        children: [
          { index: true, lazy: () => import('~/screens/destination/Tables') },
          {
            path: 'workbench',
            handle: { wide: true },
            lazy: () => import('~/screens/destination/Workbench'),
          },
          { path: 'settings', lazy: () => import('~/screens/destination/Settings') },
        ],
      },
      { path: 'failed-events', lazy: () => import('~/screens/failed-events'), children: failedEvents },
      { path: '*', lazy: () => import('~/screens/not-found') },
    ],
  },
]);
