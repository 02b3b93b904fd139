import '../styles/alerts.css';
import { useEffect, useMemo, useState } from 'react';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useInfiniteQuery } from '@tanstack/react-query';
import { alertsQuery } from '../api/queries';
import type { AlertSummary } from '../api/types';
import { Grid, type GridColumn } from '../table/grid';
import { StatusChip, STATUSES } from '../ui/alert-status';
import { EvidenceBadge } from '../ui/evidence';
import { Severity, Time } from '../ui/marks';
import { Empty, Failure, Loading } from '../ui/notice';
import { SEVERITIES, formatCount, plural } from '../util/format';
import { paths, type AlertsState } from '../util/paths';

const route = getRouteApi('/shell/alerts');

const COLUMNS: GridColumn<AlertSummary>[] = [
  { id: 'severity', header: 'Severity', size: 108, cell: (a) => <Severity id={a.severity_id} /> },
  { id: 'status', header: 'Status', size: 112, cell: (a) => <StatusChip status={a.status} /> },
  { id: 'title', header: 'Rule', size: 260, grow: true, cell: (a) => <strong className="alert-title" title={a.title}>{a.title}</strong> },
  { id: 'techniques', header: 'ATT&CK', size: 116, cell: (a) => <>{a.techniques?.map((t) => <span key={t.uid} className="chip mono" title={t.name ?? undefined}>{t.uid}</span>)}</> },
  { id: 'host', header: 'Host', size: 96, cell: (a) => a.host ?? '' },
  { id: 'user', header: 'User', size: 88, cell: (a) => a.user ?? '' },
  { id: 'count', header: 'Events', size: 66, cell: (a) => formatCount(a.count) },
  { id: 'last', header: 'Last seen', size: 170, cell: (a) => <span className="mono"><Time value={a.last_at} style="seconds" /></span> },
  { id: 'assignee', header: 'Assignee', size: 92, cell: (a) => a.assignee || <span className="muted">nobody</span> },
  { id: 'evidence', header: 'Evidence', size: 96, cell: (a) => (a.records[0] ? <EvidenceBadge record={a.records[0]} /> : null) },
];
const rowId = (a: AlertSummary) => a.id;

function Filters({ state, go }: { state: AlertsState; go: (change: AlertsState) => void }) {
  const [text, setText] = useState(state.q ?? '');
  useEffect(() => setText(state.q ?? ''), [state.q]);
  return (
    <form className="alert-filters" role="search" onSubmit={(e) => { e.preventDefault(); go({ q: text.trim() }); }}>
      <input className="input" type="search" data-focus="search" aria-label="Text in alerts" placeholder="Rule, host, user …" value={text} onChange={(e) => { setText(e.target.value); if (e.target.value === '') go({ q: '' }); }} />
      <div className="line" role="group" aria-label="Status">
        {STATUSES.map(([key, label]) => <button key={key} type="button" className="button small" aria-pressed={state.status === key} onClick={() => go({ status: state.status === key ? '' : key })}>{label}</button>)}
      </div>
      <div className="line" role="group" aria-label="Least severity">
        {[5, 4, 3, 2].map((id) => <button key={id} type="button" className="button small" aria-pressed={state.severity === String(id)} onClick={() => go({ severity: state.severity === String(id) ? '' : String(id) })}>{SEVERITIES[id]}{id < 5 ? ' +' : ''}</button>)}
      </div>
    </form>
  );
}

export function AlertsPage() {
  const state = route.useSearch();
  const navigate = useNavigate();
  const query = useInfiniteQuery(alertsQuery(state));
  const rows = useMemo(() => query.data?.pages.flatMap((p) => p.alerts) ?? [], [query.data]);
  const total = query.data?.pages[0]?.total ?? 0;
  const go = (change: AlertsState) => void navigate({ to: '/alerts', search: { ...state, ...change }, replace: true });
  const filtered = Boolean(state.status || state.severity || state.q);

  return (
    <div className="alerts-page">
      <div className="alerts-head">
        <h1>Alerts</h1>
        <span className="muted" role="status">{query.data ? plural(total, 'alert') : ''}</span>
        <Filters state={state} go={go} />
      </div>
      <section className="results" aria-label="Alert queue">
        {query.error ? <Failure error={query.error} retry={() => void query.refetch()} />
          : query.isPending ? <Loading what="Reading the queue" />
          : rows.length === 0 ? (
            <Empty title={filtered ? 'No alert fits these filters' : 'The queue is empty'} action={filtered ? <button type="button" className="button" onClick={() => go({ status: '', severity: '', q: '' })}>Show all alerts</button> : null}>
              {filtered ? 'Take a filter away to see more.' : 'Rules write here when they match. The status page says how many are loaded and which sources send events.'}
            </Empty>
          ) : (
            <Grid label="Alerts" rows={rows} columns={COLUMNS} rowId={rowId} onOpen={(a) => void navigate(paths.alert(a.id))}
              footer={query.hasNextPage ? <span className="line more"><span>{formatCount(rows.length)} of {formatCount(total)} shown.</span><button type="button" className="button small" disabled={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>Load more</button></span> : <span className="muted">End of the queue.</span>} />
          )}
      </section>
    </div>
  );
}
