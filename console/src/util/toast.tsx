import { useSyncExternalStore } from 'react';

interface Toast { id: number; text: string; error: boolean }
let toasts: Toast[] = [];
let next = 1;
const listeners = new Set<() => void>();
const publish = (list: Toast[]) => {
  toasts = list;
  for (const listener of listeners) listener();
};

/** A short message in the corner; errors stay longer. */
export function toast(text: string, error = false) {
  const id = next++;
  publish([...toasts, { id, text, error }]);
  setTimeout(() => publish(toasts.filter((t) => t.id !== id)), error ? 9000 : 3500);
}

export async function copyText(text: string, what: string) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`Copied ${what}.`);
  } catch {
    toast('The browser did not allow copying; select the text and copy it by hand.', true);
  }
}

export function Toasts() {
  const list = useSyncExternalStore((listener) => { listeners.add(listener); return () => listeners.delete(listener); }, () => toasts);
  return (
    <div className="toasts" role="status" aria-live="polite">
      {list.map((t) => <div key={t.id} className={t.error ? 'toast error' : 'toast'}>{t.text}</div>)}
    </div>
  );
}
