// The log's public key that this browser trusts: taken from the server the first time a record verifies under it, or pasted. From then on
// the server cannot exchange it unnoticed.
import { useSyncExternalStore } from 'react';

export interface LogKey {
  /** The verifier key, `name+id+key`. */
  key: string;
  /** When it was kept, RFC 3339. */
  since: string;
  /** `server`: on first use, by the server's word. `person`: pasted, from wherever it was kept. */
  from: 'server' | 'person';
}

const PLACE = 'reeve.log-key';
const listeners = new Set<() => void>();

function stored(): LogKey | undefined {
  try {
    const value = JSON.parse(localStorage.getItem(PLACE) ?? 'null') as Partial<LogKey> | null;
    if (typeof value?.key !== 'string' || typeof value.since !== 'string') return undefined;
    return { key: value.key, since: value.since, from: value.from === 'person' ? 'person' : 'server' };
  } catch {
    return undefined;
  }
}

let current = stored();

/** Keeps a key, or forgets it. Where the browser stores nothing it is kept for as long as the page is open. */
export function setLogKey(next: LogKey | undefined) {
  current = next;
  try {
    if (next) localStorage.setItem(PLACE, JSON.stringify(next));
    else localStorage.removeItem(PLACE);
  } catch {
    // Storage is full or forbidden; the page still has it.
  }
  for (const listener of listeners) listener();
}

export const logKey = () => current;

function subscribe(listener: () => void) {
  // Another tab may have kept or replaced it.
  const changed = (event: StorageEvent) => {
    if (event.key !== PLACE && event.key !== null) return;
    current = stored();
    listener();
  };
  listeners.add(listener);
  window.addEventListener('storage', changed);
  return () => {
    listeners.delete(listener);
    window.removeEventListener('storage', changed);
  };
}

export const useLogKey = () => useSyncExternalStore(subscribe, logKey);

/** The id of a verifier key, 8 hex digits: what two people compare by telephone. */
export const keyId = (key: string) => key.split('+')[1] ?? key;
