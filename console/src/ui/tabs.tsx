import { useId, useState, type KeyboardEvent, type ReactNode } from 'react';

export interface Tab { id: string; label: string; render: () => ReactNode }

/** Tabs as the ARIA pattern has them: arrow keys move, one tab is in the tab order. */
export function Tabs({ tabs, label, end }: { tabs: Tab[]; label: string; end?: ReactNode }) {
  const base = useId();
  const [chosen, setChosen] = useState(tabs[0]?.id);
  const current = tabs.find((t) => t.id === chosen) ?? tabs[0];

  function onKeyDown(event: KeyboardEvent<HTMLDivElement>) {
    const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    if (step === 0 || !current) return;
    event.preventDefault();
    event.stopPropagation();
    const next = tabs[(tabs.indexOf(current) + step + tabs.length) % tabs.length];
    if (!next) return;
    setChosen(next.id);
    document.getElementById(`${base}-${next.id}`)?.focus();
  }

  if (!current) return null;
  return (
    <div className="tabs">
      <div className="tablist-line">
        <div role="tablist" aria-label={label} onKeyDown={onKeyDown}>
          {tabs.map((t) => (
            <button key={t.id} id={`${base}-${t.id}`} type="button" role="tab" aria-selected={t === current} aria-controls={`${base}-panel`} tabIndex={t === current ? 0 : -1} onClick={() => setChosen(t.id)}>{t.label}</button>
          ))}
        </div>
        {end}
      </div>
      <div id={`${base}-panel`} role="tabpanel" aria-labelledby={`${base}-${current.id}`} tabIndex={0}>{current.render()}</div>
    </div>
  );
}
