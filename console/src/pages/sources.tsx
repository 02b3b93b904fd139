import '../styles/sources.css';
import { useState } from 'react';
import { Link } from '@tanstack/react-router';
import { useQuery } from '@tanstack/react-query';
import { sourcesQuery } from '../api/queries';
import type { Source } from '../api/types';
import { AddSource } from '../sources/add';
import { formatRate, trouble } from '../sources/counts';
import { StateOf } from '../sources/state';
import { Time } from '../ui/marks';
import { Empty, Failure, Loading } from '../ui/notice';
import { formatBytes, formatCount, plural } from '../util/format';
import { paths } from '../util/paths';

function Row({ source }: { source: Source }) {
  const wrong = trouble(source);
  return (
    <tr>
      <td><Link {...paths.source(source.name)}><strong>{source.name}</strong></Link></td>
      <td><StateOf state={source.state} /></td>
      <td><span className="chip">{source.label}</span></td>
      <td className="mono">{source.known_by.join(', ') || <span className="muted">–</span>}</td>
      <td className="number">{formatRate(source.rate_per_second)}</td>
      <td className="mono"><Time value={source.last_seen_at} style="seconds" /></td>
      <td className="number">{formatCount(source.records)}</td>
      <td className="number">{formatBytes(source.bytes)}</td>
      <td className="number">{wrong > 0 ? <Link {...paths.source(source.name)} className="bad-text">{formatCount(wrong)}</Link> : '0'}</td>
    </tr>
  );
}

function Table({ title, sources, children }: { title: string; sources: Source[]; children: string }) {
  return (
    <section className="panel sources-table" aria-label={title}>
      <header><h2>{title}</h2><span className="muted">{children}</span></header>
      <table className="plain-table">
        <thead><tr><th scope="col">Source</th><th scope="col">State</th><th scope="col">Label</th><th scope="col">Known by</th><th scope="col" className="number">Rate</th><th scope="col">Last seen</th><th scope="col" className="number">Records</th><th scope="col" className="number">Bytes</th><th scope="col" className="number">Problems</th></tr></thead>
        <tbody>{sources.map((s) => <Row key={s.name} source={s} />)}</tbody>
      </table>
    </section>
  );
}

/** Every source, and who else sends. Counts are since the server started. */
export function SourcesPage() {
  const [adding, setAdding] = useState(false);
  const { data, error, refetch } = useQuery({ ...sourcesQuery(), refetchInterval: 5000 });
  if (error) return <Failure error={error} retry={() => void refetch()} />;
  if (!data) return <Loading what="Reading the sources" />;
  const registered = data.sources.filter((s) => s.state !== 'unregistered');
  const others = data.sources.filter((s) => s.state === 'unregistered');
  const add = <button type="button" className="button primary" onClick={() => setAdding(true)}>Add a source</button>;
  return (
    <div className="page">
      <div className="spread wrap">
        <div className="page-title"><h1>Sources</h1><span className="muted">{plural(registered.length, 'source')}{data.sources[0]?.counted_since ? <>, counts since <Time value={data.sources[0].counted_since} style="seconds" zone /></> : null}</span></div>
        {add}
      </div>
      {registered.length > 0 ? <Table title="Registered" sources={registered}>read every five seconds</Table> : (
        <section className="panel"><Empty title="No source is registered" action={add}>A registered source has a name, a token or address it is known by, and a policy label. What others send is kept under the name its protocol gives it.</Empty></section>
      )}
      {others.length > 0 ? <Table title="Not registered" sources={others}>kept under the name their protocol gives them</Table> : null}
      {adding ? <AddSource onClose={() => setAdding(false)} /> : null}
    </div>
  );
}
