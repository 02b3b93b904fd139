import { useEffect, useRef } from 'react';

const inText = (target: EventTarget | null) => target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

/** Key names as `KeyboardEvent.key`, `mod+k` for Ctrl or Command; single keys do nothing while typing. Return false to let the key through. */
export function useShortcuts(map: Record<string, (event: KeyboardEvent) => boolean | void>) {
  const latest = useRef(map);
  useEffect(() => {
    latest.current = map;
  });
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const mod = event.ctrlKey || event.metaKey;
      if (event.altKey || event.defaultPrevented) return;
      const key = mod ? `mod+${event.key.toLowerCase()}` : event.key;
      const handler = latest.current[key];
      if (!handler || (!mod && (inText(event.target) || document.querySelector('dialog[open]')))) return;
      if (handler(event) !== false) event.preventDefault();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, []);
}
