import { useState } from 'react';
import { Link } from '@tanstack/react-router';
import { paths } from '../util/paths';
import { EvidenceBadge } from './evidence';

const FIRST = 12;

/** Cited records: each with a link and its evidence badge. A long list opens on demand. */
export function Records({ records, first = FIRST }: { records: string[]; first?: number }) {
  const [all, setAll] = useState(false);
  const shown = all ? records : records.slice(0, first);
  if (records.length === 0) return <p className="muted">No record is cited.</p>;
  return (
    <ul className="records">
      {shown.map((r) => <li key={r}><Link {...paths.record(r)} className="mono">{r}</Link><EvidenceBadge record={r} /></li>)}
      {shown.length < records.length ? <li><button type="button" className="button small" onClick={() => setAll(true)}>{records.length - shown.length} more</button></li> : null}
    </ul>
  );
}
