/** Every screen by its address, one line each. A screen is a folder of `screens` whose index exports `Component`. */
import { createBrowserRouter, Navigate } from 'react-router';
import { Fault } from './Fault';
import { Frame } from './frame/Frame';

export const router = createBrowserRouter([
  { path: '/sign-in', lazy: () => import('~/screens/sign-in'), errorElement: <Fault /> },
  { path: '/welcome', lazy: () => import('~/screens/welcome'), errorElement: <Fault /> },
  { path: '/join', lazy: () => import('~/screens/link'), errorElement: <Fault /> },
  { path: '/reset', lazy: () => import('~/screens/link'), errorElement: <Fault /> },
  {
    element: <Frame />,
    errorElement: <Fault />,
    hydrateFallbackElement: <div />,
    children: [
      { index: true, element: <Navigate to="/pipelines" replace /> },
      { path: 'pipelines', lazy: () => import('~/screens/pipelines') },
      { path: '*', lazy: () => import('~/screens/not-found') },
    ],
  },
]);
