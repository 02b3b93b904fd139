// The evidence badge: what is known about a record's integrity, and a click to check it again.
import { useEffect, useState } from 'react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { evidenceQuery, proofUrl, sealQuery, verificationKey, verify } from '../api/queries';
import type { EvidenceState, Verification } from '../api/types';
import { Icon, type IconName } from './icons';
import { Popover } from './popover';
import { Time } from './marks';

export const STATES: Record<EvidenceState, { icon: IconName; label: string; meaning: string }> = {
  verified: { icon: 'shield', label: 'Verified', meaning: 'recomputed from the stored bytes up to the signed checkpoint' },
  sealed: { icon: 'seal', label: 'Sealed', meaning: 'covered by a signed checkpoint; click to verify' },
  pending: { icon: 'clock', label: 'Pending', meaning: 'stored durably, not yet covered by a checkpoint' },
  failed: { icon: 'warning', label: 'Failed', meaning: 'the stored bytes do not match what was sealed' },
};

/** The state to show for a record: an own verification wins over what the server says of the seal. */
export function useEvidence(record: string): EvidenceState | undefined {
  // Rows that only fly past while scrolling ask nothing.
  const [settled, setSettled] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(true), 150);
    return () => clearTimeout(timer);
  }, []);
  const verification = useQuery<Verification>({ queryKey: verificationKey(record), queryFn: () => verify(record), enabled: false, staleTime: Infinity });
  const seal = useQuery({ ...sealQuery(record), enabled: settled });
  // A failure is of one record, not of its neighbours: those ask for themselves.
  const foreign = seal.data?.state === 'failed' && seal.data.asked !== record;
  const own = useQuery({ ...evidenceQuery(record), enabled: settled && foreign });
  return verification.data?.state ?? (foreign ? own.data?.state : seal.data?.state);
}

export function useVerify(record: string) {
  const queryClient = useQueryClient();
  return useMutation({
    mutationFn: () => verify(record),
    onSuccess: (result) => {
      queryClient.setQueryData(verificationKey(record), result);
      void queryClient.invalidateQueries({ queryKey: evidenceQuery(record).queryKey });
    },
  });
}

export function VerifySteps({ result }: { result: Verification }) {
  return (
    <ol className="verify-steps">
      {result.steps.map((step) => (
        <li key={step.name} className={step.ok ? 'ok' : result.state === 'pending' ? 'waiting' : 'bad'}>
          <Icon name={step.ok ? 'check' : result.state === 'pending' ? 'clock' : 'cross'} size={14} />
          <span><strong>{step.name}</strong> <span className="visually-hidden">{step.ok ? 'holds' : 'does not hold'}</span>{step.detail ? <span className="muted">{step.detail}</span> : null}</span>
        </li>
      ))}
    </ol>
  );
}

/** Verifies on appearing, shows each step, offers the proof. */
export function VerifyPanel({ record }: { record: string }) {
  const { mutate, data, error, isPending } = useVerify(record);
  useEffect(() => mutate(), [mutate]);
  return (
    <div className="verify-panel">
      <div className="spread">
        <h3>Record <span className="mono">{record}</span></h3>
        {data ? <StateChip state={data.state} /> : null}
      </div>
      {isPending ? <p role="status">Recomputing from the stored bytes…</p> : null}
      {error ? <p role="alert" className="bad-text">{error.message}</p> : null}
      {data ? <><p className="muted">{STATES[data.state]?.meaning}. Checked <Time value={data.checked_at} style="seconds" zone />.</p><VerifySteps result={data} /></> : null}
      <div className="line">
        <button type="button" className="button small" disabled={isPending} onClick={() => mutate()}>Verify again</button>
        <ProofLink record={record} state={data?.state} />
      </div>
    </div>
  );
}

/** The proof as a file. A record that no checkpoint covers has none yet, and the button says so. */
export const ProofLink = ({ record, state }: { record: string; state: EvidenceState | undefined }) => (state === 'pending' ? (
  <button type="button" className="button small" disabled title="There is a proof once the record is sealed, within about a minute"><Icon name="download" size={14} /> Proof follows the seal</button>
) : (
  <a className="button small" href={proofUrl(record)} download={`${record}.tlog-proof`}><Icon name="download" size={14} /> Download .tlog-proof</a>
));

export function StateChip({ state }: { state: EvidenceState | undefined }) {
  const known = state ? STATES[state] : undefined;
  return <span className={`evidence ${state ?? 'unknown'}`} title={known?.meaning}><Icon name={known?.icon ?? 'clock'} size={13} />{known?.label ?? '…'}</span>;
}

export function EvidenceBadge({ record }: { record: string }) {
  const state = useEvidence(record);
  return (
    <Popover label={`Evidence of record ${record}`} className="evidence-button" triggerTitle={state ? STATES[state]?.meaning : undefined} trigger={<><StateChip state={state} /><span className="visually-hidden"> evidence of record {record}, verify</span></>}>
      {() => <VerifyPanel record={record} />}
    </Popover>
  );
}
