// The person's own settings: kept in the browser, never sent anywhere.
import { useSyncExternalStore } from 'react';
import type { Zone } from './time';

export type Theme = 'dark' | 'light' | 'system';
export interface Preferences { theme: Theme; zone: Zone }

const KEY = 'reeve.preferences';
const listeners = new Set<() => void>();

function stored(): Preferences {
  try {
    const value = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Preferences>;
    return { theme: value.theme === 'dark' || value.theme === 'light' ? value.theme : 'system', zone: value.zone === 'local' ? 'local' : 'utc' };
  } catch {
    return { theme: 'system', zone: 'utc' };
  }
}

let current = stored();

function apply() {
  if (current.theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = current.theme;
}
apply();

export function setPreferences(change: Partial<Preferences>) {
  current = { ...current, ...change };
  localStorage.setItem(KEY, JSON.stringify(current));
  apply();
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const usePreferences = (): Preferences => useSyncExternalStore(subscribe, () => current);
