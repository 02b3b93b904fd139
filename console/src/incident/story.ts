import type { Because, Incident, Step } from '../api/types';

const KINDS: Record<string, string> = {
  finding: 'where the walk started', process_lineage: 'by processes of', logon_session: 'in the logon session of', file_write_execute: 'through a file of',
  remote_logon: 'by a connection of', web_request: 'by a web request of', shared_address: 'with an outside address of', account_use: 'with an account of',
};

/** Why a step belongs to the incident, in words, with the step it follows from. */
export function becauseText(because: Because): string {
  const words = KINDS[because.kind] ?? because.kind.replaceAll('_', ' ');
  const target = because.step ? ` step ${because.step}` : '';
  return `${words}${target}${because.detail ? ` (${because.detail})` : ''}`;
}

export function becauseOf(step: Step): Because[] {
  if (!step.because) return [];
  if (typeof step.because === 'string') return [{ kind: step.because }];
  return Array.isArray(step.because) ? step.because : [step.because];
}

/** The server's own story, or one built from the steps when it sent none. */
export function storyOf(incident: Incident): string {
  if (incident.story) return incident.story;
  const lines = incident.steps.map((s) => `${s.n}. ${s.time}  ${s.host ?? ''}: ${s.action}${s.technique ? ` [${s.technique.uid}]` : ''}  (records ${s.records.join(', ')})`);
  return [incident.title, '', ...lines].join('\n');
}
