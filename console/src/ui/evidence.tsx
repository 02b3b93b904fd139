// The evidence badge: what is known about a record's integrity, and a click to check it in this browser.
import { useEffect, useState } from 'react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { evidenceQuery, proofUrl, rawUrl, sealQuery, verificationKey } from '../api/queries';
import type { EvidenceState } from '../api/types';
import { check, type Check } from '../evidence/check';
import { Icon, type IconName } from './icons';
import { KeyWarning, LogKeyPart } from './log-key';
import { Popover } from './popover';
import { Time } from './marks';

/** What a badge shows: the server's states, and its word where this browser could not check. */
export type Shown = EvidenceState | 'vouched';

export const STATES: Record<Shown, { icon: IconName; label: string; meaning: string }> = {
  verified: { icon: 'shield', label: 'Verified', meaning: 'Checked in this browser: from the raw bytes up to the signed checkpoint' },
  vouched: { icon: 'check', label: 'Server', meaning: 'The server says that it verified the record. This browser did not check' },
  sealed: { icon: 'seal', label: 'Sealed', meaning: 'Covered by a signed checkpoint, by the server’s word; click to verify' },
  pending: { icon: 'clock', label: 'Pending', meaning: 'Stored durably, not yet covered by a checkpoint' },
  failed: { icon: 'warning', label: 'Failed', meaning: 'The record is not what was sealed, or that cannot be shown' },
};

export const shown = (result: Check): Shown => (result.state === 'verified' && result.where === 'server' ? 'vouched' : result.state);

/** The last check of a record on this page, if there was one. */
export const useChecked = (record: string) => useQuery<Check>({ queryKey: verificationKey(record), queryFn: () => check(record), enabled: false, staleTime: Infinity }).data;

/** The state to show for a record: an own check wins over what the server says of the seal. */
function useEvidence(record: string): Shown | undefined {
  // Rows that only fly past while scrolling ask nothing.
  const [settled, setSettled] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(true), 150);
    return () => clearTimeout(timer);
  }, []);
  const checked = useChecked(record);
  const seal = useQuery({ ...sealQuery(record), enabled: settled });
  // A failure is of one record, not of its neighbours: those ask for themselves.
  const foreign = seal.data?.state === 'failed' && seal.data.asked !== record;
  const own = useQuery({ ...evidenceQuery(record), enabled: settled && foreign });
  return checked ? shown(checked) : foreign ? own.data?.state : seal.data?.state;
}

export function useVerify(record: string) {
  const queryClient = useQueryClient();
  return useMutation({
    mutationFn: () => check(record),
    onSuccess: (result) => {
      queryClient.setQueryData(verificationKey(record), result);
      void queryClient.invalidateQueries({ queryKey: evidenceQuery(record).queryKey });
    },
  });
}

/** Who checked and what came of it, step by step. */
export function CheckResult({ result }: { result: Check }) {
  const waits = result.state === 'pending';
  return (
    <>
      <p className="muted">{result.where === 'browser' ? 'Checked in this browser' : waits ? 'Nothing to check yet' : 'Checked by the server, by its own word'}, <Time value={result.checked_at} style="seconds" zone />.</p>
      {result.unable ? <p className="check-note"><Icon name="warning" size={14} /><span>This browser could not check it: {result.unable}.</span></p> : null}
      {result.reason ? <p role="alert" className="check-note bad"><Icon name="warning" size={14} /><span><strong>The check failed:</strong> {result.reason}.</span></p> : null}
      <KeyWarning result={result} />
      {result.reason ? null : (
        <ol className="verify-steps">
          {result.steps.map((step) => (
            <li key={step.name} className={step.ok ? 'ok' : waits ? 'waiting' : 'bad'}>
              <Icon name={step.ok ? 'check' : waits ? 'clock' : 'cross'} size={14} />
              <span><strong>{step.name}</strong> <span className="visually-hidden">{step.ok ? 'holds' : 'does not hold'}</span>{step.detail ? <span className="muted">{step.detail}</span> : null}</span>
            </li>
          ))}
        </ol>
      )}
    </>
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
        {data ? <StateChip state={shown(data)} /> : null}
      </div>
      {isPending ? <p role="status">Checking the bytes in this browser…</p> : null}
      {error ? <p role="alert" className="bad-text">{error.message}</p> : null}
      {data ? <CheckResult result={data} /> : null}
      <LogKeyPart onChange={() => mutate()} />
      <div className="line">
        <button type="button" className="button small" disabled={isPending} onClick={() => mutate()}>Verify again</button>
        <ProofLinks record={record} state={data?.state} />
      </div>
    </div>
  );
}

/** The proof as a file, with the bytes it is about. A record that no checkpoint covers has none yet, and the button says so. */
export const ProofLinks = ({ record, state }: { record: string; state: EvidenceState | undefined }) => (state === 'pending' ? (
  <button type="button" className="button small" disabled title="There is a proof once the record is sealed, within about a minute"><Icon name="download" size={14} /> Proof follows the seal</button>
) : (
  <>
    <a className="button small" href={proofUrl(record)} download={`${record}.tlog-proof`}><Icon name="download" size={14} /> Download .tlog-proof</a>
    <a className="button small" href={rawUrl(record)} download={`${record}.raw`}><Icon name="download" size={14} /> Bytes</a>
  </>
));

export function StateChip({ state }: { state: Shown | undefined }) {
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
