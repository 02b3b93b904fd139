import '../styles/incident.css';
import { useState } from 'react';
import { Link, getRouteApi } from '@tanstack/react-router';
import { useQuery } from '@tanstack/react-query';
import { incidentQuery } from '../api/queries';
import type { Incident } from '../api/types';
import { ProcessTree } from '../incident/process-tree';
import { Steps } from '../incident/steps';
import { Timeline } from '../incident/timeline';
import { storyOf } from '../incident/story';
import { Crumbs } from '../ui/crumbs';
import { Icon } from '../ui/icons';
import { Time } from '../ui/marks';
import { Empty, Failure, Loading } from '../ui/notice';
import { Tabs } from '../ui/tabs';
import { plural } from '../util/format';
import { paths } from '../util/paths';
import { formatDuration } from '../util/time';
import { copyText } from '../util/toast';

const route = getRouteApi('/shell/incidents/$id');

function download(incident: Incident) {
  const url = URL.createObjectURL(new Blob([`${JSON.stringify(incident, null, 2)}\n`], { type: 'application/json' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = `${incident.id}.json`;
  link.click();
  URL.revokeObjectURL(url);
}

function Summary({ incident }: { incident: Incident }) {
  const records = new Set(incident.steps.flatMap((s) => s.records));
  const facts: [string, string, string][] = [
    ['Lasted', formatDuration(Date.parse(incident.to) - Date.parse(incident.from)), ''],
    ['Steps', String(incident.steps.length), `${incident.steps.filter((s) => s.certainty === 'certain').length} in certain order`],
    ['Hosts', String(incident.hosts.length), incident.hosts.join(', ')],
    ['Users', String(incident.users.length), incident.users.join(', ')],
    ['Outside addresses', String(incident.addresses?.length ?? 0), incident.addresses?.join(', ') ?? ''],
    ['Evidence', String(records.size), 'records cited'],
  ];
  return (
    <section className="panel summary" aria-label="Summary">
      <dl className="tiles">
        {facts.map(([name, value, more]) => <div key={name}><dt>{name}</dt><dd><strong>{value}</strong>{more ? <span className="muted ellipsis" title={more}>{more}</span> : null}</dd></div>)}
      </dl>
      <ul className="techniques" aria-label="Techniques">
        {incident.techniques.map((t) => <li key={t.uid} className="chip"><span className="mono">{t.uid}</span> {t.name}</li>)}
      </ul>
      {incident.notes?.length ? <ul className="problems" aria-label="What is left out">{incident.notes.map((note) => <li key={note}><Icon name="warning" size={13} /> {note}</li>)}</ul> : null}
    </section>
  );
}

export function IncidentPage() {
  const { id } = route.useParams();
  const { data: incident, error, refetch } = useQuery(incidentQuery(id));
  const [selected, setSelected] = useState<number>();
  if (error) return <Failure error={error} retry={() => void refetch()} />;
  if (!incident) return <Loading what="Reading the incident" />;
  const story = storyOf(incident);
  const roots = incident.process_tree;
  return (
    <div className="page incident-page">
      <Crumbs>{[<Link key="a" {...paths.incidents()}>Incidents</Link>, <span key="b" className="mono">{incident.id}</span>]}</Crumbs>
      <div className="spread wrap">
        <div>
          <h1>{incident.title}</h1>
          <p className="muted"><Time value={incident.from} style="seconds" /> – <Time value={incident.to} style="seconds" zone /></p>
        </div>
        <div className="line">
          <button type="button" className="button" onClick={() => void copyText(JSON.stringify(incident, null, 2), 'the incident as JSON')}><Icon name="copy" size={14} /> Copy JSON</button>
          <button type="button" className="button" onClick={() => download(incident)}><Icon name="download" size={14} /> Download JSON</button>
        </div>
      </div>
      <Summary incident={incident} />
      <section className="panel" aria-label="Timeline">
        <header><h2>Timeline</h2><span className="muted">drag to zoom, click a step to see it below</span></header>
        <Timeline incident={incident} selected={selected} onSelect={setSelected} />
      </section>
      <div className="incident-columns">
        <section className="panel" aria-label="Steps">
          <header><h2>Steps</h2><span className="muted">each claim with the records it rests on</span></header>
          {incident.steps.length > 0 ? <Steps steps={incident.steps} selected={selected} onSelect={setSelected} /> : <Empty title="No steps">From this seed nothing could be linked. Try another finding of the same host.</Empty>}
        </section>
        <section className="panel side" aria-label="Process tree and story">
          <div className="body">
            <Tabs label="Views of the incident" tabs={[
              { id: 'tree', label: 'Process tree', render: () => (roots.length > 0 ? <ProcessTree roots={roots} selected={selected} onSelect={setSelected} /> : <Empty title="No process tree">{`No process starts are among the ${plural(incident.steps.length, 'step')}.`}</Empty>) },
              { id: 'story', label: 'Story', render: () => <div className="copy-host"><button type="button" className="button small" onClick={() => void copyText(story, 'the story')}><Icon name="copy" size={12} /> Copy</button><pre className="block wrap story" tabIndex={0}>{story}</pre></div> },
            ]} />
          </div>
        </section>
      </div>
    </div>
  );
}
