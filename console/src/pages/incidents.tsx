import { Link } from '@tanstack/react-router';
import { useQuery } from '@tanstack/react-query';
import { incidentsQuery } from '../api/queries';
import { Time } from '../ui/marks';
import { Empty, Failure, Loading } from '../ui/notice';
import { formatDuration } from '../util/time';
import { plural } from '../util/format';
import { paths } from '../util/paths';

export function IncidentsPage() {
  const { data, error, refetch } = useQuery(incidentsQuery());
  if (error) return <Failure error={error} retry={() => void refetch()} />;
  if (!data) return <Loading what="Reading incidents" />;
  return (
    <div className="page">
      <div className="page-title"><h1>Incidents</h1><span className="muted">{plural(data.length, 'incident')}</span></div>
      {data.length === 0 ? (
        <section className="panel"><Empty title="No incident has been reconstructed" action={<Link {...paths.alerts()} className="button primary">Open the alerts</Link>}>Open an alert and choose “Reconstruct incident”: Reeve walks causes and consequences from there.</Empty></section>
      ) : (
        <section className="panel">
          <table className="plain-table">
            <thead><tr><th scope="col">Incident</th><th scope="col">From</th><th scope="col">Lasted</th><th scope="col" className="number">Steps</th><th scope="col">Reconstructed</th><th scope="col">By</th></tr></thead>
            <tbody>
              {data.map((i) => (
                <tr key={i.id}>
                  <td><Link {...paths.incident(i.id)}><strong>{i.title}</strong></Link></td>
                  <td className="mono"><Time value={i.from} style="seconds" zone /></td>
                  <td>{formatDuration(Date.parse(i.to) - Date.parse(i.from))}</td>
                  <td className="number">{i.steps}</td>
                  <td className="mono"><Time value={i.created_at} style="seconds" zone /></td>
                  <td>{i.created_by ?? '–'}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </div>
  );
}
