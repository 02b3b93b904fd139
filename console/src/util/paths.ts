// One typed function per address of the console. State that an investigator may want to hand on lives in these parameters.
export interface SearchState { q?: string; from?: string; to?: string; cols?: string; sql?: string }
export interface AlertsState { status?: string; severity?: string; q?: string }

export const paths = {
  search: (state: SearchState = {}) => ({ to: '/search', search: state }) as const,
  alerts: (state: AlertsState = {}) => ({ to: '/alerts', search: state }) as const,
  alert: (id: string) => ({ to: '/alerts/$id', params: { id } }) as const,
  incidents: () => ({ to: '/incidents' }) as const,
  incident: (id: string) => ({ to: '/incidents/$id', params: { id } }) as const,
  record: (id: string, part = 0) => ({ to: '/records/$id', params: { id }, search: part ? { part } : {} }) as const,
  sources: () => ({ to: '/sources' }) as const,
  source: (name: string) => ({ to: '/sources/$name', params: { name } }) as const,
  status: () => ({ to: '/status' }) as const,
  signIn: (then?: string) => ({ to: '/sign-in', search: then ? { then } : {} }) as const,
};
