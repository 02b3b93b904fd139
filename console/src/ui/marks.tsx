// Small signs that carry a meaning: time certainty, severity, order certainty. Shape and words, never colour alone.
import { usePreferences } from '../util/preferences';
import { formatTime, zoneName } from '../util/time';
import { severityName } from '../util/format';

export const TIME_CERTAINTY: Record<string, [string, string]> = {
  exact: ['', 'the source wrote date, time and offset'],
  zone_inferred: ['≈', 'zone inferred: the source wrote no offset'],
  year_inferred: ['≈', 'year inferred: the source wrote no year'],
  received: ['?', 'no usable time in the source: this is the time of receipt'],
};

export function TimeMark({ certainty }: { certainty?: string | null | undefined }) {
  const [sign, meaning] = TIME_CERTAINTY[certainty ?? 'exact'] ?? ['?', `time certainty: ${certainty}`];
  if (sign === '') return null;
  return <abbr className="time-mark" title={meaning}><span aria-hidden="true">{sign}</span><span className="visually-hidden"> ({meaning})</span></abbr>;
}

export function Time({ value, certainty, style = 'full', zone: showZone = false }: { value: string | number | null | undefined; certainty?: string | null | undefined; style?: 'full' | 'seconds' | 'clock'; zone?: boolean }) {
  const { zone } = usePreferences();
  if (value === null || value === undefined || value === '') return <span className="muted">–</span>;
  return (
    <span className="nowrap">
      <time dateTime={String(value)} title={typeof value === 'string' ? value : undefined}>{formatTime(value, zone, style)}</time>
      {showZone ? <span className="muted"> {zoneName(value, zone)}</span> : null}
      <TimeMark certainty={certainty} />
    </span>
  );
}

export function Severity({ id }: { id: number | undefined }) {
  const level = Math.max(0, Math.min(6, id ?? 0));
  return (
    <span className={`severity s${level}`}>
      <span className="bars" aria-hidden="true">{[1, 2, 3, 4, 5].map((n) => <i key={n} className={n <= level ? 'on' : ''} />)}</span>
      {severityName(id)}
    </span>
  );
}

const ORDER: Record<string, [string, string]> = {
  certain: ['●', 'order certain'],
  likely: ['◐', 'order likely'],
  unknown: ['○', 'order unknown'],
};

export function OrderMark({ certainty }: { certainty: string | undefined }) {
  const [sign, words] = ORDER[certainty ?? 'unknown'] ?? ['○', 'order unknown'];
  return <span className="chip"><span aria-hidden="true">{sign}</span> {words}</span>;
}
