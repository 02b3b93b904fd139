import '../styles/record.css';
import { useQuery } from '@tanstack/react-query';
import { statusQuery } from '../api/queries';
import type { Json } from '../api/types';
import { Time } from '../ui/marks';
import { Failure, Loading } from '../ui/notice';
import { flatten, formatBytes, formatCount, humanise, showValue } from '../util/format';

const TITLES: Record<string, string> = { ledger: 'Record ledger', audit: 'Audit ledger', lake: 'Lake', detection: 'Detection', detect: 'Detection', sources: 'Sources', intake: 'Sources', reading: 'Reading' };
const TIME = /^\d{4}-\d{2}-\d{2}T/;

function Value({ name, value }: { name: string; value: Json }) {
  if (typeof value === 'number') return <>{/bytes/.test(name) ? formatBytes(value) : formatCount(value)}</>;
  if (typeof value === 'string' && TIME.test(value)) return <Time value={value} style="seconds" zone />;
  if (value === null) return <span className="muted">none</span>;
  return <span className="mono">{showValue(value)}</span>;
}

function Facts({ value }: { value: Json }) {
  return <dl className="facts">{flatten(value).map(([name, v]) => <div key={name} className="contents"><dt>{humanise(name)}</dt><dd><Value name={name} value={v} /></dd></div>)}</dl>;
}

type Entry = { [key: string]: Json };
const isEntry = (v: Json): v is Entry => v !== null && typeof v === 'object' && !Array.isArray(v);

function Table({ rows }: { rows: Entry[] }) {
  const columns = [...new Set(rows.flatMap((r) => Object.keys(r)))];
  const number = (c: string) => (rows.every((r) => typeof (r[c] ?? 0) === 'number') ? 'number' : '');
  return (
    <table className="plain-table">
      <thead><tr>{columns.map((c) => <th key={c} scope="col" className={number(c)}>{humanise(c)}</th>)}</tr></thead>
      <tbody>{rows.map((r, i) => <tr key={i}>{columns.map((c) => <td key={c} className={number(c)}><Value name={c} value={r[c] ?? null} /></td>)}</tr>)}</tbody>
    </table>
  );
}

/** Every counter the server gives, in its own grouping; a new one shows up without a change here. */
export function StatusPage() {
  const { data, error, refetch } = useQuery({ ...statusQuery(), refetchInterval: 5000 });
  if (error) return <Failure error={error} retry={() => void refetch()} />;
  if (!data) return <Loading what="Reading the counters" />;
  const scalars = Object.entries(data).filter(([, v]) => v === null || typeof v !== 'object');
  const groups = Object.entries(data).filter(([, v]) => v !== null && typeof v === 'object');
  return (
    <div className="page">
      <div className="page-title"><h1>Status</h1><span className="muted">read every five seconds</span></div>
      <div className="status-grid">
        {scalars.length > 0 ? <section className="panel"><header><h2>Server</h2></header><div className="body"><Facts value={Object.fromEntries(scalars)} /></div></section> : null}
        {groups.map(([name, value]) => {
          const rows = Array.isArray(value) && value.length > 0 && value.every(isEntry) ? value : undefined;
          return (
            <section key={name} className={`panel${rows ? ' wide' : ''}`} aria-label={TITLES[name] ?? humanise(name)}>
              <header><h2>{TITLES[name] ?? humanise(name)}</h2></header>
              {rows ? <Table rows={rows} /> : <div className="body">{Array.isArray(value) && value.length === 0 ? <p className="muted">Nothing yet.</p> : <Facts value={value} />}</div>}
            </section>
          );
        })}
      </div>
    </div>
  );
}
