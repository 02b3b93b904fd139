import type { AlertStatus } from '../api/types';

export const STATUSES: [AlertStatus, string][] = [['new', 'New'], ['in_progress', 'In progress'], ['resolved', 'Resolved'], ['suppressed', 'Suppressed']];
const SIGNS: Record<AlertStatus, string> = { new: '●', in_progress: '◐', resolved: '✓', suppressed: '–' };

export function StatusChip({ status }: { status: AlertStatus }) {
  const label = STATUSES.find(([key]) => key === status)?.[1] ?? status;
  return <span className={`status ${status}`}><span aria-hidden="true">{SIGNS[status] ?? '○'}</span> {label}</span>;
}
