import { useState, type FormEvent } from 'react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { alertQuery, changeAlert, sessionQuery } from '../api/queries';
import type { AlertChange, AlertDetail, AlertStatus } from '../api/types';
import { STATUSES } from '../ui/alert-status';
import { toast } from '../util/toast';

/** Status and assignee, with the reason that goes into the audit ledger. */
export function AlertActions({ alert }: { alert: AlertDetail }) {
  const queryClient = useQueryClient();
  const { data: session } = useQuery(sessionQuery());
  const [status, setStatus] = useState<AlertStatus>(alert.status);
  const [assignee, setAssignee] = useState(alert.assignee ?? '');
  const [reason, setReason] = useState('');
  const [missing, setMissing] = useState(false);

  const save = useMutation({
    mutationFn: (change: AlertChange) => changeAlert(alert.id, change),
    onSuccess: async () => {
      toast('Saved.');
      await Promise.all([queryClient.invalidateQueries({ queryKey: alertQuery(alert.id).queryKey }), queryClient.invalidateQueries({ queryKey: ['alerts'] })]);
    },
    onError: (cause) => toast(`Not saved: ${cause.message}`, true),
  });

  function onSubmit(event: FormEvent) {
    event.preventDefault();
    setMissing(reason.trim() === '');
    if (reason.trim() === '') return;
    save.mutate({
      ...(status !== alert.status ? { status } : {}),
      ...(assignee !== (alert.assignee ?? '') ? { assignee } : {}),
      reason: reason.trim(),
    });
  }

  const unchanged = status === alert.status && assignee === (alert.assignee ?? '');
  return (
    <form className="panel" onSubmit={onSubmit} aria-label="Change the alert">
      <header><h2>Handle</h2></header>
      <div className="body stack">
        <div className="field">
          <label htmlFor="alert-status">Status</label>
          <select id="alert-status" className="input" value={status} onChange={(e) => setStatus(e.target.value as AlertStatus)}>{STATUSES.map(([key, label]) => <option key={key} value={key}>{label}</option>)}</select>
        </div>
        <div className="field">
          <label htmlFor="alert-assignee">Assignee</label>
          <span className="line nowrap-line">
            <input id="alert-assignee" className="input grow" value={assignee} placeholder="nobody" onChange={(e) => setAssignee(e.target.value)} />
            <button type="button" className="button" onClick={() => setAssignee(session?.user.name ?? '')}>Me</button>
          </span>
        </div>
        <div className="field">
          <label htmlFor="alert-reason">Reason</label>
          <textarea id="alert-reason" className="input" rows={2} value={reason} aria-invalid={missing} aria-describedby="alert-reason-error" onChange={(e) => setReason(e.target.value)} />
          <span id="alert-reason-error" className="error" role="alert">{missing ? 'Say why; the reason is kept in the audit ledger.' : ''}</span>
        </div>
        <button className="button primary" disabled={unchanged || save.isPending} title={unchanged ? 'Change the status or the assignee first' : undefined}>Save</button>
      </div>
    </form>
  );
}
