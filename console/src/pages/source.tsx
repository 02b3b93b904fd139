import '../styles/sources.css';
import { Link, getRouteApi } from '@tanstack/react-router';
import { useQuery } from '@tanstack/react-query';
import { sourceQuery } from '../api/queries';
import type { ReadAs, Source } from '../api/types';
import { SourceActions } from '../sources/actions';
import { formatRate, reasons, span } from '../sources/counts';
import { StateOf } from '../sources/state';
import { Crumbs } from '../ui/crumbs';
import { Time } from '../ui/marks';
import { Failure, Loading } from '../ui/notice';
import { formatBytes, formatCount, formatPercent } from '../util/format';
import { paths } from '../util/paths';

const route = getRouteApi('/shell/sources/$name');

function Tiles({ source, readAs }: { source: Source; readAs: ReadAs[] }) {
  const events = span(readAs.map((r) => [r.first_at, r.last_at]));
  return (
    <dl className="panel source-tiles">
      <div><dt>Rate, last minute</dt><dd>{formatRate(source.rate_per_second)}</dd></div>
      <div><dt>Last seen</dt><dd><Time value={source.last_seen_at ?? span(readAs.map((r) => [r.first_received_at, r.last_received_at])).last} style="seconds" /></dd></div>
      <div><dt>First event</dt><dd><Time value={events.first} style="seconds" /></dd></div>
      <div><dt>Last event</dt><dd><Time value={events.last} style="seconds" /></dd></div>
      <div><dt>Since the start</dt><dd>{formatCount(source.records)} <span className="muted">records, {formatBytes(source.bytes)}</span></dd></div>
    </dl>
  );
}

function ReadAsTable({ readAs }: { readAs: ReadAs[] }) {
  const all = readAs.reduce((sum, r) => sum + r.events, 0);
  return (
    <section className="panel read-as" aria-label="Read as">
      <header><h2>Read as</h2><span className="muted">all its events, {formatCount(all)}</span></header>
      {readAs.length === 0 ? <div className="body"><p className="muted">No event of this source was read yet.</p></div> : (
        <table className="plain-table">
          <thead><tr><th scope="col">Decoder</th><th scope="col" className="number">Events</th><th scope="col" className="number">Share</th><th scope="col">First</th><th scope="col">Last</th><th scope="col"><span className="visually-hidden">Search</span></th></tr></thead>
          <tbody>
            {readAs.map((r) => (
              <tr key={r.decoder}>
                <td><span className="mono">{r.decoder}</span>{r.recognised ? null : <> <span className="chip">not recognised</span></>}</td>
                <td className="number">{formatCount(r.events)}</td>
                <td className="number">{formatPercent(r.events, all)}</td>
                <td className="mono"><Time value={r.first_at} style="seconds" /></td>
                <td className="mono"><Time value={r.last_at} style="seconds" /></td>
                <td><Link {...paths.search({ q: r.query })}>Search</Link></td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function Problems({ source }: { source: Source }) {
  const rows = reasons(source);
  return (
    <section className="panel" aria-label="Problems by reason">
      <header><h2>Problems by reason</h2><span className="muted">since the server started</span></header>
      {rows.length === 0 ? <div className="body"><p className="muted">None.</p></div> : (
        <table className="plain-table">
          <thead><tr><th scope="col">Reason</th><th scope="col">What became of it</th><th scope="col" className="number">Times</th></tr></thead>
          <tbody>{rows.map((r) => <tr key={`${r.kind} ${r.reason}`}><td className="mono">{r.reason}</td><td>{r.meaning}</td><td className="number">{formatCount(r.times)}</td></tr>)}</tbody>
        </table>
      )}
    </section>
  );
}

function About({ source }: { source: Source }) {
  return (
    <section className="panel">
      <header><h2>Source</h2></header>
      <div className="body">
        <dl className="facts">
          <dt>State</dt><dd><StateOf state={source.state} /></dd>
          {source.reason ? <><dt>Reason</dt><dd>{source.reason}</dd></> : null}
          <dt>Policy label</dt><dd><span className="chip">{source.label}</span></dd>
          <dt>Known by</dt><dd className="mono">{source.known_by.join(', ') || '–'}</dd>
          <dt>Sends with</dt><dd>{source.way ?? '–'}</dd>
          <dt>Registered</dt><dd><Time value={source.created_at} style="seconds" zone />{source.created_by ? <> by {source.created_by}</> : null}</dd>
          <dt>Changed</dt><dd><Time value={source.changed_at} style="seconds" zone />{source.changed_by ? <> by {source.changed_by}</> : null}</dd>
        </dl>
      </div>
    </section>
  );
}

export function SourcePage() {
  const { name } = route.useParams();
  const { data, error, refetch } = useQuery(sourceQuery(name));
  if (error) return <Failure error={error} retry={() => void refetch()} />;
  if (!data) return <Loading what="Reading the source" />;
  const { source, read_as: readAs } = data;
  const changes = source.state === 'enabled' || source.state === 'disabled';
  return (
    <div className="page">
      <Crumbs>{[<Link key="a" {...paths.sources()}>Sources</Link>, <span key="b" className="mono">{source.name}</span>]}</Crumbs>
      <div className="spread wrap">
        <div className="page-title"><h1>{source.name}</h1><StateOf state={source.state} /></div>
        <Link {...paths.search({ q: source.query })} className="button primary">Search its events</Link>
      </div>
      <Tiles source={source} readAs={readAs} />
      <div className="source-columns">
        <div className="stack"><ReadAsTable readAs={readAs} /><Problems source={source} /></div>
        <div className="stack"><About source={source} />{changes ? <SourceActions source={source} /> : null}</div>
      </div>
    </div>
  );
}
