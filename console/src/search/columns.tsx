import type { Json, Row } from '../api/types';
import type { GridColumn } from '../table/grid';
import { EvidenceBadge } from '../ui/evidence';
import { Icon } from '../ui/icons';
import { Severity, Time } from '../ui/marks';
import { Popover } from '../ui/popover';
import { showValue } from '../util/format';

const BUILT_IN: Record<string, GridColumn<Row>> = {
  time: { id: 'time', header: 'Time', size: 206, cell: (r) => <span className="mono"><Time value={r.time} certainty={r.time_certainty} /></span> },
  host: { id: 'host', header: 'Host', size: 96, cell: (r) => r.host ?? '' },
  class: { id: 'class', header: 'Class', size: 148, cell: (r) => r.class_name ?? '' },
  summary: { id: 'summary', header: 'Summary', size: 260, grow: true, cell: (r) => <span title={r.summary ?? undefined}>{r.summary}</span> },
  severity: { id: 'severity', header: 'Severity', size: 92, cell: (r) => <Severity id={r.severity_id} /> },
  source: { id: 'source', header: 'Source', size: 150, cell: (r) => r.source ?? '' },
  record: { id: 'record', header: 'Record', size: 80, cell: (r) => <span className="mono">{r.record}</span> },
};
export const DEFAULT_COLUMNS = ['time', 'host', 'class', 'summary', 'severity'];

const EVIDENCE: GridColumn<Row> = { id: 'evidence', header: 'Evidence', size: 96, cell: (r) => <EvidenceBadge record={r.record} /> };
const TWIST: GridColumn<Row> = { id: 'expand', header: '', size: 40, cell: () => <span className="twist" aria-hidden="true"><Icon name="right" size={12} /></span> };

const valueOf = (row: Row, name: string): Json | undefined => row.fields?.[name] ?? (row as unknown as Record<string, Json | undefined>)[name];
const Value = ({ text }: { text: string }) => <span className="mono" title={text}>{text}</span>;

/** Columns by name: the built-in ones, or any field of the event. The evidence badge is on every row. */
export function resultColumns(names: string[]): GridColumn<Row>[] {
  const chosen = names.map((name): GridColumn<Row> => BUILT_IN[name] ?? { id: name, header: name, size: 150, cell: (r) => <Value text={showValue(valueOf(r, name))} /> });
  // Something has to take the remaining width.
  if (!chosen.some((c) => c.grow) && chosen.length > 0) chosen[chosen.length - 1] = { ...(chosen[chosen.length - 1] as GridColumn<Row>), grow: true };
  return [TWIST, ...chosen, EVIDENCE];
}

export function ColumnPicker({ chosen, fields, onChange }: { chosen: string[]; fields: string[]; onChange: (names: string[]) => void }) {
  const others = [...Object.keys(BUILT_IN), ...fields].filter((name, i, all) => !chosen.includes(name) && all.indexOf(name) === i);
  const move = (name: string, by: number) => {
    const next = chosen.filter((n) => n !== name);
    next.splice(Math.max(0, chosen.indexOf(name) + by), 0, name);
    onChange(next);
  };
  return (
    <Popover label="Columns" className="button small" trigger={<><Icon name="columns" size={14} /> Columns</>}>
      {() => (
        <div className="column-picker">
          <h3>Shown, in order</h3>
          <ul>
            {chosen.map((name) => (
              <li key={name}>
                <label className="ellipsis"><input type="checkbox" checked onChange={() => onChange(chosen.filter((n) => n !== name))} disabled={chosen.length === 1} /> {name}</label>
                <button type="button" className="button plain icon" aria-label={`Move ${name} left`} onClick={() => move(name, -1)}><Icon name="left" size={12} /></button>
                <button type="button" className="button plain icon" aria-label={`Move ${name} right`} onClick={() => move(name, 1)}><Icon name="right" size={12} /></button>
              </li>
            ))}
          </ul>
          <div className="spread"><h3>More</h3><button type="button" className="button small" onClick={() => onChange(DEFAULT_COLUMNS)}>Default</button></div>
          <ul>{others.map((name) => <li key={name}><label className="ellipsis"><input type="checkbox" checked={false} onChange={() => onChange([...chosen, name])} /> {name}</label></li>)}</ul>
        </div>
      )}
    </Popover>
  );
}
