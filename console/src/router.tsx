import { createRootRoute, createRoute, createRouter, lazyRouteComponent, redirect } from '@tanstack/react-router';
import { queryClient } from './api/cache';
import { ApiError, setCsrfToken, whenSignedOut } from './api/client';
import { sessionQuery } from './api/queries';
import { Shell } from './layouts/shell';
import { PageError, PageLoading, PageMissing } from './ui/notice';
import type { AlertsState, SearchState } from './util/paths';

const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : typeof value === 'number' ? String(value) : undefined);
/** Keeps only what is set, so that addresses stay short. */
function pick<T extends object>(values: T): T {
  return Object.fromEntries(Object.entries(values).filter(([, v]) => v !== undefined)) as T;
}

const rootRoute = createRootRoute({ notFoundComponent: PageMissing });

const signIn = createRoute({
  getParentRoute: () => rootRoute,
  path: '/sign-in',
  validateSearch: (s: Record<string, unknown>): { then?: string } => pick({ then: text(s.then) }) as { then?: string },
  component: lazyRouteComponent(() => import('./pages/sign-in'), 'SignInPage'),
});

const shell = createRoute({
  getParentRoute: () => rootRoute,
  id: 'shell',
  component: Shell,
  beforeLoad: async ({ location }) => {
    try {
      setCsrfToken((await queryClient.ensureQueryData(sessionQuery())).csrf_token);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) throw redirect({ to: '/sign-in', search: location.href === '/' ? {} : { then: location.href } });
      throw error;
    }
  },
});

const home = createRoute({ getParentRoute: () => shell, path: '/', beforeLoad: () => { throw redirect({ to: '/search' }); } });
const search = createRoute({
  getParentRoute: () => shell,
  path: '/search',
  validateSearch: (s: Record<string, unknown>): SearchState => pick({ q: text(s.q), from: text(s.from), to: text(s.to), cols: text(s.cols), sql: text(s.sql) }) as SearchState,
  component: lazyRouteComponent(() => import('./pages/search'), 'SearchPage'),
});
const alerts = createRoute({
  getParentRoute: () => shell,
  path: '/alerts',
  validateSearch: (s: Record<string, unknown>): AlertsState => pick({ status: text(s.status), severity: text(s.severity), q: text(s.q) }) as AlertsState,
  component: lazyRouteComponent(() => import('./pages/alerts'), 'AlertsPage'),
});
const alert = createRoute({ getParentRoute: () => shell, path: '/alerts/$id', component: lazyRouteComponent(() => import('./pages/alert'), 'AlertPage') });
const incidents = createRoute({ getParentRoute: () => shell, path: '/incidents', component: lazyRouteComponent(() => import('./pages/incidents'), 'IncidentsPage') });
const incident = createRoute({ getParentRoute: () => shell, path: '/incidents/$id', component: lazyRouteComponent(() => import('./pages/incident'), 'IncidentPage') });
const record = createRoute({
  getParentRoute: () => shell,
  path: '/records/$id',
  validateSearch: (s: Record<string, unknown>): { part?: number } => (Number(s.part) > 0 ? { part: Number(s.part) } : {}),
  component: lazyRouteComponent(() => import('./pages/record'), 'RecordPage'),
});
const sources = createRoute({ getParentRoute: () => shell, path: '/sources', component: lazyRouteComponent(() => import('./pages/sources'), 'SourcesPage') });
const source = createRoute({ getParentRoute: () => shell, path: '/sources/$name', component: lazyRouteComponent(() => import('./pages/source'), 'SourcePage') });
const status = createRoute({ getParentRoute: () => shell, path: '/status', component: lazyRouteComponent(() => import('./pages/status'), 'StatusPage') });

// Everything in the address is text to us: a query such as `1.10` must not turn into a number.
const parseSearch = (search: string) => Object.fromEntries(new URLSearchParams(search));
function stringifySearch(search: Record<string, unknown>): string {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(search)) if (value !== undefined && value !== '') params.set(key, String(value));
  const out = params.toString();
  return out ? `?${out}` : '';
}

export const router = createRouter({
  routeTree: rootRoute.addChildren([signIn, shell.addChildren([home, search, alerts, alert, incidents, incident, record, sources, source, status])]),
  parseSearch,
  stringifySearch,
  defaultPreload: 'intent',
  defaultPendingComponent: PageLoading,
  defaultErrorComponent: PageError,
});

whenSignedOut(() => {
  // Several requests may be refused at once; the first one leads to the sign-in page.
  if (router.state.location.pathname === '/sign-in') return;
  queryClient.removeQueries({ queryKey: ['session'] });
  void router.navigate({ to: '/sign-in', search: { then: router.state.location.href } });
});

declare module '@tanstack/react-router' {
  interface Register { router: typeof router }
}
