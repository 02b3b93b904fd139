import { useQuery } from '@tanstack/react-query';
import { eventQuery } from '../api/queries';
import type { AlertDetail, Json } from '../api/types';
import { flatten, showValue } from '../util/format';
import { highlight } from './highlight';

/** A field that matched with several values gives one pair a value. */
export function matchedFields(alert: AlertDetail): [string, string][] {
  return Object.entries(alert.matched_fields ?? {}).flatMap(([name, value]) => (Array.isArray(value) ? value : [value]).map((v): [string, string] => [name, showValue(v)]));
}

const inside = (value: Json | undefined, key: string | number): Json | undefined => (value !== null && typeof value === 'object' ? (value as Record<string | number, Json>)[key] : undefined);

/** The event the finding names as evidence, else the first record of the alert. */
function evidenceOf(alert: AlertDetail): { record: string | undefined; part: number } {
  const data = inside(inside(inside(alert.finding, 'evidences'), 0), 'data');
  const cited = inside(data, 'record');
  const record = Array.isArray(cited) ? cited[0] : cited;
  return { record: typeof record === 'string' && /^\d+-\d+$/.test(record) ? record : alert.records[0], part: Number(inside(data, 'part') ?? 0) };
}

function Marked({ text, needles }: { text: string; needles: string[] }) {
  return <>{highlight(text, needles).map((part, i) => (part.hit ? <mark key={i}>{part.text}</mark> : part.text))}</>;
}

/** The fields the rule matched, and the event as the source wrote it with those values marked. */
export function WhyItFired({ alert }: { alert: AlertDetail }) {
  const matched = matchedFields(alert);
  const { record, part } = evidenceOf(alert);
  const event = useQuery({ ...eventQuery(record ?? '', part), enabled: record !== undefined });
  const needles = matched.map(([, value]) => value);
  const native = event.data ? flatten(event.data.native) : [];
  const names = new Set(matched.map(([name]) => name));
  return (
    <section className="panel">
      <header><h2>Why it fired</h2><span className="muted">values the rule matched are marked</span></header>
      <div className="body stack">
        {matched.length > 0 ? (
          <table className="field-table">
            <thead className="visually-hidden"><tr><th scope="col">Field</th><th scope="col">Value</th></tr></thead>
            <tbody>{matched.map(([name, value], i) => <tr key={i}><th scope="row" className="mono">{name}</th><td className="mono value-cell"><mark>{value}</mark></td></tr>)}</tbody>
          </table>
        ) : <p className="muted">The rule counts events and names no single field.</p>}
        {event.data?.raw_text ? <div className="stack tight"><span className="label">Record {record} as received</span><pre className="block wrap" tabIndex={0}><Marked text={event.data.raw_text} needles={needles} /></pre></div> : null}
        {native.length > 0 ? (
          <details>
            <summary>All {native.length} native fields</summary>
            <table className="field-table"><tbody>{native.map(([name, value]) => <tr key={name} className={names.has(name) ? 'hit' : ''}><th scope="row" className="mono">{name}</th><td className="mono value-cell"><Marked text={showValue(value)} needles={needles} /></td></tr>)}</tbody></table>
          </details>
        ) : null}
        {event.error ? <p className="bad-text">The record could not be read: {event.error.message}</p> : null}
      </div>
    </section>
  );
}

export function RuleText({ alert }: { alert: AlertDetail }) {
  return (
    <section className="panel">
      <header><h2>Rule</h2><span className="muted">{alert.author ? `by ${alert.author}` : ''}</span></header>
      <div className="body">{alert.rule_text ? <pre className="block" tabIndex={0} aria-label="Rule text">{alert.rule_text}</pre> : <p className="muted">The rule text was not kept with this alert.</p>}</div>
    </section>
  );
}
