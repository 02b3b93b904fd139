import type { Because, Incident } from '../api/types';

const KINDS: Record<Because['kind'], string> = {
  finding: 'where the walk started', process_lineage: 'by processes of', logon_session: 'in the logon session of', file_write_execute: 'through a file of',
  remote_logon: 'by a connection of', web_request: 'by a web request of', shared_address: 'with an outside address of', account_use: 'with an account of',
  service_start: 'by a service or task of',
};

/** Why a step belongs to the incident, in words, with the step it follows from. */
export function becauseText(because: Because): string {
  // A newer server may know links that this console does not.
  const words: string = KINDS[because.kind] ?? because.kind.replaceAll('_', ' ');
  return because.step ? `${words} step ${because.step}` : words;
}

/** The server's own story, or one built from the steps when it is empty. */
export function storyOf(incident: Pick<Incident, 'title' | 'steps' | 'story'>): string {
  if (incident.story) return incident.story;
  const lines = incident.steps.map((s) => `${s.n}. ${s.time}  ${s.host}: ${s.action}${s.technique.uid ? ` [${s.technique.uid}]` : ''}  (records ${s.records.join(', ')})`);
  return [incident.title, '', ...lines].join('\n');
}
