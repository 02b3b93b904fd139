import '../styles/alerts.css';
import { Link, getRouteApi, useNavigate } from '@tanstack/react-router';
import { useMutation, useQuery } from '@tanstack/react-query';
import { alertQuery, reconstruct } from '../api/queries';
import type { AlertDetail } from '../api/types';
import { AlertActions } from '../alerts/actions';
import { RuleText, WhyItFired } from '../alerts/why';
import { Records } from '../ui/records';
import { StatusChip } from '../ui/alert-status';
import { Crumbs } from '../ui/crumbs';
import { Severity, Time } from '../ui/marks';
import { Empty, Failure, Loading } from '../ui/notice';
import { formatCount } from '../util/format';
import { paths } from '../util/paths';
import { toIso } from '../util/time';
import { toast } from '../util/toast';

const route = getRouteApi('/shell/alerts/$id');

function History({ alert }: { alert: AlertDetail }) {
  if (!alert.history?.length) return <Empty title="Nothing happened yet">Changes of status or assignee appear here with who made them and why.</Empty>;
  return (
    <ol className="history">
      {[...alert.history].reverse().map((h, i) => (
        <li key={i}><Time value={h.at} style="seconds" zone /> <strong>{h.by || 'reeve'}</strong> {h.change}{h.reason ? <div className="muted">{h.reason}</div> : null}</li>
      ))}
    </ol>
  );
}

const around = (alert: AlertDetail) => paths.search({ q: alert.host ? `device.hostname:"${alert.host}"` : '', from: toIso(Date.parse(alert.first_at) - 300_000), to: toIso(Date.parse(alert.last_at) + 300_000) });

export function AlertPage() {
  const { id } = route.useParams();
  const navigate = useNavigate();
  const { data: alert, error, refetch } = useQuery(alertQuery(id));
  const rebuild = useMutation({
    mutationFn: () => reconstruct({ from_finding: id }),
    onSuccess: (incident) => navigate(paths.incident(incident.id)),
    onError: (cause) => toast(`The incident could not be reconstructed: ${cause.message}`, true),
  });
  if (error) return <Failure error={error} retry={() => void refetch()} />;
  if (!alert) return <Loading what="Reading the alert" />;
  return (
    <div className="page">
      <Crumbs>{[<Link key="a" {...paths.alerts()}>Alerts</Link>, <span key="b" className="mono">{alert.id}</span>]}</Crumbs>
      <div className="spread wrap">
        <div className="page-title"><h1>{alert.title}</h1><Severity id={alert.severity_id} /><StatusChip status={alert.status} /></div>
        <div className="line">
          <Link {...around(alert)} className="button">Events around it</Link>
          <button type="button" className="button primary" disabled={rebuild.isPending} onClick={() => rebuild.mutate()}>{rebuild.isPending ? 'Reconstructing…' : 'Reconstruct incident'}</button>
        </div>
      </div>
      <div className="alert-columns">
        <div className="stack">
          <WhyItFired alert={alert} />
          <section className="panel"><header><h2>Records it rests on</h2><span className="muted">{formatCount(alert.records.length)}</span></header><div className="body"><Records records={alert.records} /></div></section>
          <RuleText alert={alert} />
        </div>
        <div className="stack">
          <section className="panel">
            <header><h2>Summary</h2></header>
            <div className="body">
              <dl className="facts">
                <dt>Host</dt><dd>{alert.host || '–'}</dd>
                <dt>User</dt><dd>{alert.user || '–'}</dd>
                <dt>First seen</dt><dd><Time value={alert.first_at} zone /></dd>
                <dt>Last seen</dt><dd><Time value={alert.last_at} zone /></dd>
                <dt>Events</dt><dd>{formatCount(alert.count)}</dd>
                <dt>Technique</dt><dd>{alert.techniques?.length ? alert.techniques.map((t) => <div key={t.uid}><span className="mono">{t.uid}</span> {t.name}</div>) : '–'}</dd>
                <dt>Rule</dt><dd className="mono">{alert.rule_uid ?? '–'}</dd>
                <dt>Rule author</dt><dd>{alert.author || 'not named'}</dd>
                <dt>Assignee</dt><dd>{alert.assignee || 'nobody'}</dd>
              </dl>
            </div>
          </section>
          <AlertActions key={alert.status + String(alert.assignee)} alert={alert} />
          <section className="panel"><header><h2>History</h2></header><div className="body"><History alert={alert} /></div></section>
        </div>
      </div>
    </div>
  );
}
