import { useId, useState, type KeyboardEvent } from 'react';
import { useNavigate } from '@tanstack/react-router';
import { useQuery } from '@tanstack/react-query';
import { incidentsQuery } from '../api/queries';
import { Modal } from '../ui/modal';
import { paths } from '../util/paths';
import { setPreferences } from '../util/preferences';

interface Command { label: string; detail: string; run: () => void }

function useCommands(text: string): Command[] {
  const navigate = useNavigate();
  const incidents = useQuery(incidentsQuery());
  const typed = text.trim();
  const fixed: Command[] = [
    { label: 'Search', detail: 'page', run: () => void navigate(paths.search()) },
    { label: 'Alerts', detail: 'page', run: () => void navigate(paths.alerts()) },
    { label: 'Alerts: new, high and above', detail: 'queue', run: () => void navigate(paths.alerts({ status: 'new', severity: '4' })) },
    { label: 'Incidents', detail: 'page', run: () => void navigate(paths.incidents()) },
    { label: 'Sources', detail: 'page', run: () => void navigate(paths.sources()) },
    { label: 'Status', detail: 'page', run: () => void navigate(paths.status()) },
    { label: 'Dark theme', detail: 'setting', run: () => setPreferences({ theme: 'dark' }) },
    { label: 'Light theme', detail: 'setting', run: () => setPreferences({ theme: 'light' }) },
    { label: 'Theme of the system', detail: 'setting', run: () => setPreferences({ theme: 'system' }) },
    { label: 'Times in UTC', detail: 'setting', run: () => setPreferences({ zone: 'utc' }) },
    { label: 'Times in local zone', detail: 'setting', run: () => setPreferences({ zone: 'local' }) },
    ...(incidents.data ?? []).slice(0, 20).map((i) => ({ label: i.title, detail: 'incident', run: () => void navigate(paths.incident(i.id)) })),
  ];
  const matching = fixed.filter((c) => typed.toLowerCase().split(/\s+/).every((word) => c.label.toLowerCase().includes(word)));
  if (typed === '') return fixed;
  const record = /^\d+-\d+$/.test(typed) ? [{ label: `Open record ${typed}`, detail: 'record', run: () => void navigate(paths.record(typed)) }] : [];
  return [...record, ...matching, { label: `Search for ${typed}`, detail: 'search', run: () => void navigate(paths.search({ q: typed })) }];
}

export function Palette({ onClose }: { onClose: () => void }) {
  const id = useId();
  const [text, setText] = useState('');
  const [active, setActive] = useState(0);
  const commands = useCommands(text);
  const chosen = Math.min(active, commands.length - 1);

  function run(command: Command | undefined) {
    if (!command) return;
    onClose();
    command.run();
  }

  function onKeyDown(event: KeyboardEvent) {
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (step !== 0) {
      event.preventDefault();
      const next = (chosen + step + commands.length) % commands.length;
      setActive(next);
      document.getElementById(`${id}-${next}`)?.scrollIntoView({ block: 'nearest' });
    } else if (event.key === 'Enter') {
      event.preventDefault();
      run(commands[chosen]);
    }
  }

  return (
    <Modal label="Command palette" className="palette" onClose={onClose}>
      <input autoFocus role="combobox" aria-expanded="true" aria-controls={`${id}-list`} aria-activedescendant={`${id}-${chosen}`} aria-label="Command or search" placeholder="A page, a setting, a record such as 3-17, or words to search for" value={text} onChange={(e) => { setText(e.target.value); setActive(0); }} onKeyDown={onKeyDown} />
      <ul id={`${id}-list`} role="listbox" aria-label="Commands">
        {commands.map((c, i) => (
          <li key={`${c.detail} ${c.label}`} id={`${id}-${i}`} role="option" aria-selected={i === chosen} onMouseMove={() => setActive(i)} onClick={() => run(c)}>
            <span className="ellipsis">{c.label}</span><span className="muted">{c.detail}</span>
          </li>
        ))}
      </ul>
    </Modal>
  );
}
