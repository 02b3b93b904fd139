import { useState } from 'react';
import { useQuery } from '@tanstack/react-query';
import { ApiError } from '../api/client';
import { fieldsQuery, type Range } from '../api/queries';
import type { FieldSummary } from '../api/types';
import { Icon } from '../ui/icons';
import { formatCount, formatPercent, showValue, valueLabel } from '../util/format';

export const TOP_VALUES = 6;
/** Fields analysts look at first, opened without asking. */
const FIRST = ['device.hostname', 'class_uid', 'actor.user.name', 'severity_id', 'source'];

interface Props {
  range: Range;
  onFilter: (name: string, value: string | number | boolean, out: boolean) => void;
  onPipe: (verb: 'top' | 'rare' | 'timechart', name: string) => void;
}

function Values({ field, onFilter }: { field: FieldSummary; onFilter: Props['onFilter'] }) {
  return (
    <ul className="values">
      {field.top.map(({ value, count }) => {
        const text = showValue(value);
        const scalar = typeof value === 'number' || typeof value === 'boolean' ? value : text;
        return (
          <li key={text}>
            <button type="button" className="value" title={`${field.name} = ${text}\nClick: keep only it. Alt-click: leave it out.`} onClick={(e) => onFilter(field.name, scalar, e.altKey)}>
              <span className="fill" style={{ width: `${Math.max(1, (100 * count) / Math.max(1, field.count))}%` }} />
              <span className="ellipsis">{text === '' ? '(empty)' : valueLabel(field.name, text)}</span>
              <span className="share">{formatPercent(count, field.count)}</span>
            </button>
            <button type="button" className="button plain icon" aria-label={`Leave out ${field.name} ${text}`} title="Leave out" onClick={() => onFilter(field.name, scalar, true)}><Icon name="minus" size={12} /></button>
          </li>
        );
      })}
    </ul>
  );
}

function Field({ field, open, onToggle, onFilter, onPipe }: { field: FieldSummary; open: boolean; onToggle: () => void } & Pick<Props, 'onFilter' | 'onPipe'>) {
  return (
    <li className="field-entry">
      <button type="button" className="field-name" aria-expanded={open} onClick={onToggle}>
        <Icon name="right" size={12} />
        <span className="mono ellipsis">{field.name}</span>
        <span className="muted" title={`${formatCount(field.count)} events have it${field.distinct === undefined ? '' : `, ${formatCount(field.distinct)} different values`}`}>{formatCount(field.distinct ?? field.count)}</span>
      </button>
      {open ? (
        <div className="field-open">
          <Values field={field} onFilter={onFilter} />
          <div className="line">
            {(['top', 'rare', 'timechart'] as const).map((verb) => <button key={verb} type="button" className="button small" onClick={() => onPipe(verb, field.name)}>{verb}</button>)}
          </div>
        </div>
      ) : null}
    </li>
  );
}

export function FieldSidebar({ range, onFilter, onPipe }: Props) {
  const { data, error, isPending } = useQuery(fieldsQuery(range, TOP_VALUES));
  const [needle, setNeedle] = useState('');
  const [toggled, setToggled] = useState<ReadonlySet<string>>(new Set());
  const fields = (data?.fields ?? []).filter((f) => f.count > 0 && f.name.toLowerCase().includes(needle.toLowerCase()));
  const rank = (f: FieldSummary) => (FIRST.includes(f.name) ? FIRST.indexOf(f.name) : FIRST.length);
  const toggle = (name: string) => setToggled((was) => {
    const next = new Set(was);
    if (!next.delete(name)) next.add(name);
    return next;
  });
  return (
    <aside className="sidebar" aria-label="Fields">
      <div className="sidebar-head">
        <input className="input" type="search" aria-label="Find a field" placeholder="Find a field" value={needle} onChange={(e) => setNeedle(e.target.value)} />
        {data?.sampled ? <span className="muted">from a sample</span> : null}
      </div>
      {error ? <p className="sidebar-note muted">{error instanceof ApiError && error.status === 400 ? "The fields appear once the query can be read." : `Field values could not be read: ${error.message}`}</p> : null}
      {isPending ? <p className="sidebar-note muted">Counting values…</p> : null}
      {data && fields.length === 0 ? <p className="sidebar-note muted">{needle ? 'No field has this in its name.' : 'No fields, because no events match.'}</p> : null}
      <ul className="fields">
        {[...fields].sort((a, b) => rank(a) - rank(b)).map((f) => <Field key={f.name} field={f} open={FIRST.slice(0, 3).includes(f.name) !== toggled.has(f.name)} onToggle={() => toggle(f.name)} onFilter={onFilter} onPipe={onPipe} />)}
      </ul>
    </aside>
  );
}
