import { useState, type FormEvent } from 'react';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { changeSource } from '../api/queries';
import type { ChangedSource, Source, SourceChange } from '../api/types';
import { toast } from '../util/toast';
import { Setup } from './setup';

/** Disable, enable, retire, and another token; each with its reason. Who may not is told so by the server. */
export function SourceActions({ source }: { source: Source }) {
  const queryClient = useQueryClient();
  const [reason, setReason] = useState('');
  const [made, setMade] = useState<ChangedSource>();
  const act = useMutation({
    mutationFn: (change: SourceChange) => changeSource(change),
    onSuccess: async (changed) => {
      toast('Done.');
      setReason('');
      setMade(changed.token ? changed : undefined);
      await queryClient.invalidateQueries({ queryKey: ['sources'] });
    },
    onError: (cause) => toast(`Not done: ${cause.message}`, true),
  });
  const ask = (what: SourceChange['act']) => act.mutate({ act: what, name: source.name, ...(reason.trim() && what !== 'token' ? { reason: reason.trim() } : {}) });
  const onSubmit = (event: FormEvent) => event.preventDefault();
  return (
    <form className="panel" aria-label="Change the source" onSubmit={onSubmit}>
      <header><h2>Change</h2></header>
      <div className="body stack">
        <div className="field">
          <label htmlFor="source-reason">Reason, kept with the source</label>
          <input id="source-reason" className="input" value={reason} onChange={(e) => setReason(e.target.value)} />
        </div>
        <div className="line">
          {source.state === 'enabled'
            ? <button type="button" className="button" disabled={act.isPending} onClick={() => ask('disable')}>Disable</button>
            : <button type="button" className="button primary" disabled={act.isPending} onClick={() => ask('enable')}>Enable</button>}
          <button type="button" className="button" disabled={act.isPending} onClick={() => ask('token')}>New token</button>
          <button type="button" className="button danger" disabled={act.isPending || source.state === 'enabled'} title={source.state === 'enabled' ? 'Disable it first; a retired source does not come back' : 'It does not come back; its name stays taken'} onClick={() => ask('retire')}>Retire</button>
        </div>
        {made ? <Setup made={made} /> : null}
      </div>
    </form>
  );
}
