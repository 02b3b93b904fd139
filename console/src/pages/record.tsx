import '../styles/record.css';
import { Link, getRouteApi, useNavigate } from '@tanstack/react-router';
import { useMutation, useQuery } from '@tanstack/react-query';
import { eventQuery, evidenceQuery, reconstruct } from '../api/queries';
import type { Json } from '../api/types';
import { Crumbs } from '../ui/crumbs';
import { CheckResult, ProofLinks, shown, StateChip, STATES, useChecked, useVerify } from '../ui/evidence';
import { EventFaces } from '../ui/faces';
import { LogKeyPart } from '../ui/log-key';
import { Time } from '../ui/marks';
import { Failure, Loading } from '../ui/notice';
import { humanise, formatCount, flatten, showValue } from '../util/format';
import { paths } from '../util/paths';
import { term } from '../util/query';
import { toast } from '../util/toast';

const route = getRouteApi('/shell/records/$id');
const TIME = /^\d{4}-\d{2}-\d{2}T/;

function Receipt({ receipt, sha256 }: { receipt: { [key: string]: Json }; sha256: string }) {
  return (
    <section className="panel">
      <header><h2>Receipt</h2><span className="muted">what Reeve noted when the bytes arrived</span></header>
      <div className="body">
        <dl className="facts">
          {flatten(receipt).map(([name, value]) => <div key={name} className="contents"><dt>{humanise(name)}</dt><dd className="mono">{typeof value === 'string' && TIME.test(value) ? <Time value={value} zone /> : showValue(value) || '–'}</dd></div>)}
          <dt>SHA-256</dt><dd className="mono">{sha256}</dd>
        </dl>
      </div>
    </section>
  );
}

function EvidencePanel({ record }: { record: string }) {
  const evidence = useQuery(evidenceQuery(record));
  const check = useVerify(record);
  const result = useChecked(record);
  const state = result ? shown(result) : evidence.data?.state;
  const e = evidence.data;
  return (
    <section className="panel">
      <header><h2>Evidence</h2><StateChip state={state} /></header>
      <div className="body stack">
        {evidence.error ? <p className="bad-text">{evidence.error.message}</p> : null}
        {state && !result ? <p className="muted">{STATES[state].meaning}.</p> : null}
        {e ? (
          <dl className="facts">
            <dt>Segment</dt><dd className="mono">{e.segment ?? '–'}</dd>
            <dt>Leaf</dt><dd className="mono">{e.leaf_index ?? 'none yet'}</dd>
            {e.checkpoint ? <><dt>Checkpoint</dt><dd className="mono">{e.checkpoint.origin}</dd><dt>Log size</dt><dd className="mono">{formatCount(e.checkpoint.size)}</dd><dt>Root</dt><dd className="mono">{e.checkpoint.root}</dd><dt>Signed at</dt><dd className="mono"><Time value={e.checkpoint.at} zone /></dd></> : <><dt>Checkpoint</dt><dd>none covers it yet; the next one will</dd></>}
          </dl>
        ) : null}
        {result ? <CheckResult result={result} /> : null}
        {check.error ? <p className="bad-text" role="alert">{check.error.message}</p> : null}
        <LogKeyPart onChange={() => check.mutate()} />
        <div className="line">
          <button type="button" className="button primary" disabled={check.isPending} onClick={() => check.mutate()}>{check.isPending ? 'Verifying…' : result ? 'Verify again' : 'Verify now'}</button>
          <ProofLinks record={record} state={evidence.data?.state} />
        </div>
      </div>
    </section>
  );
}

export function RecordPage() {
  const { id } = route.useParams();
  const { part = 0 } = route.useSearch();
  const navigate = useNavigate();
  const event = useQuery(eventQuery(id, part));
  const rebuild = useMutation({
    mutationFn: () => reconstruct({ from_record: id }),
    onSuccess: (incident) => navigate(paths.incident(incident.id)),
    onError: (cause) => toast(`The incident could not be reconstructed: ${cause.message}`, true),
  });
  if (event.error) return <Failure error={event.error} retry={() => void event.refetch()} />;
  if (!event.data) return <Loading what="Reading the record" />;
  const { data } = event;
  return (
    <div className="page">
      <Crumbs>{[<Link key="a" {...paths.search()}>Search</Link>, <span key="b" className="mono">{id}</span>]}</Crumbs>
      <div className="spread wrap">
        <div className="page-title"><h1>Record <span className="mono">{id}</span></h1>{part > 0 ? <span className="chip">event {part} in it</span> : null}{data.decoder ? <span className="chip mono">{data.decoder}</span> : null}</div>
        <button type="button" className="button" disabled={rebuild.isPending} onClick={() => rebuild.mutate()}>{rebuild.isPending ? 'Reconstructing…' : 'Reconstruct from here'}</button>
      </div>
      <div className="record-columns">
        <section className="panel"><div className="body"><EventFaces record={id} part={part} onFilter={(name, value, out) => void navigate(paths.search({ q: `${out ? 'NOT ' : ''}${term(name, value)}` }))} /></div></section>
        <div className="stack"><EvidencePanel record={id} /><Receipt receipt={data.receipt} sha256={data.raw_sha256} /></div>
      </div>
    </div>
  );
}
