// The four faces of one event: fields as a table, OCSF, native, raw bytes.
import { useMemo, useState, type ReactNode } from 'react';
import { useQuery } from '@tanstack/react-query';
import { eventQuery } from '../api/queries';
import type { FullEvent, Json } from '../api/types';
import { flatten, formatBytes, showValue } from '../util/format';
import { decodeBase64, hexLines } from '../util/hex';
import { copyText } from '../util/toast';
import { Icon } from './icons';
import { Failure, Loading } from './notice';
import { Tabs } from './tabs';

export type OnFilter = (name: string, value: string | number | boolean, out: boolean) => void;

const isScalar = (v: Json): v is string | number | boolean => v !== null && typeof v !== 'object';

export function FieldTable({ entries, onFilter }: { entries: [string, Json][]; onFilter?: OnFilter | undefined }) {
  if (entries.length === 0) return <p className="muted">No fields.</p>;
  return (
    <table className="field-table">
      <thead className="visually-hidden"><tr><th scope="col">Actions</th><th scope="col">Field</th><th scope="col">Value</th></tr></thead>
      <tbody>
        {entries.map(([name, value]) => (
          <tr key={name}>
            <td className="actions">
              {onFilter && isScalar(value) ? (
                <>
                  <button type="button" className="button plain icon" aria-label={`Keep only ${name} ${String(value)}`} title="Filter in" onClick={() => onFilter(name, value, false)}><Icon name="plus" size={12} /></button>
                  <button type="button" className="button plain icon" aria-label={`Leave out ${name} ${String(value)}`} title="Filter out" onClick={() => onFilter(name, value, true)}><Icon name="minus" size={12} /></button>
                </>
              ) : null}
              <button type="button" className="button plain icon" aria-label={`Copy ${name}`} title="Copy the value" onClick={() => void copyText(showValue(value), name)}><Icon name="copy" size={12} /></button>
            </td>
            <th scope="row" className="mono">{name}</th>
            <td className="mono value-cell">{showValue(value)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function JsonBlock({ value, what }: { value: Json; what: string }) {
  const text = JSON.stringify(value, null, 2);
  return (
    <div className="copy-host">
      <button type="button" className="button small" onClick={() => void copyText(text, what)}><Icon name="copy" size={12} /> Copy</button>
      <pre className="block wrap" tabIndex={0}>{text}</pre>
    </div>
  );
}

const HEX_LIMIT = 4096;

export function RawBytes({ event }: { event: FullEvent }) {
  const [all, setAll] = useState(false);
  const bytes = useMemo(() => decodeBase64(event.raw_base64), [event.raw_base64]);
  const lines = useMemo(() => hexLines(bytes, all ? Infinity : HEX_LIMIT), [bytes, all]);
  return (
    <div className="raw">
      <div className="line muted"><span>{formatBytes(bytes.length)} as received</span><span className="mono">sha256 {event.raw_sha256}</span><button type="button" className="button plain icon" aria-label="Copy the hash" onClick={() => void copyText(event.raw_sha256, 'the hash')}><Icon name="copy" size={12} /></button></div>
      <div className="raw-sides">
        <pre className="block wrap" tabIndex={0} aria-label="Raw text">{event.raw_text ?? 'These bytes are no text in UTF-8; see them in hexadecimal.'}</pre>
        <pre className="block hex" tabIndex={0} aria-label="Raw bytes in hexadecimal">{lines.map((l) => `${l.offset}  ${l.hex}  ${l.text}`).join('\n')}</pre>
      </div>
      {bytes.length > HEX_LIMIT && !all ? <button type="button" className="button small" onClick={() => setAll(true)}>Show all {formatBytes(bytes.length)} in hexadecimal</button> : null}
    </div>
  );
}

function Problems({ event }: { event: FullEvent }) {
  if (!event.problems || event.problems.length === 0) return null;
  return (
    <ul className="problems" aria-label="Problems found while reading">
      {event.problems.map((p, i) => <li key={i}><Icon name="warning" size={13} /> {typeof p === 'string' ? p : <>{p.detail} <span className="mono">{p.code}</span>{typeof p.offset === 'number' ? <span className="muted"> at byte {p.offset}</span> : null}</>}</li>)}
    </ul>
  );
}

export function EventFaces({ record, part, fields, onFilter, end }: { record: string; part: number; fields?: Record<string, Json> | undefined; onFilter?: OnFilter | undefined; end?: ReactNode }) {
  const { data, error, isPending, refetch } = useQuery(eventQuery(record, part));
  const wait = (show: (event: FullEvent) => ReactNode) => () => (data ? show(data) : error ? <Failure error={error} retry={() => void refetch()} /> : isPending ? <Loading what="Reading the record" /> : null);
  const table = fields ? () => <>{data ? <Problems event={data} /> : null}<FieldTable entries={Object.entries(fields)} onFilter={onFilter} /></> : wait((e) => <><Problems event={e} />{e.ocsf === null ? <p className="muted">Not read yet: the bytes are stored, their reading follows.</p> : null}<FieldTable entries={flatten(e.ocsf)} onFilter={onFilter} /></>);
  return (
    <Tabs
      label={`Record ${record}`}
      end={end}
      tabs={[
        { id: 'table', label: 'Table', render: table },
        { id: 'ocsf', label: 'OCSF', render: wait((e) => <JsonBlock value={e.ocsf} what="the OCSF event" />) },
        { id: 'native', label: 'Native', render: wait((e) => <><p className="muted native-head">As the source names it. Decoder <code>{e.decoder ?? 'not read yet'}</code>, mapping <code>{e.mapping ?? 'none'}</code>.</p><FieldTable entries={flatten(e.native)} onFilter={onFilter} /></>) },
        { id: 'raw', label: 'Raw bytes', render: wait((e) => <RawBytes event={e} />) },
      ]}
    />
  );
}
