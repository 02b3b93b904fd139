// The log's public key that this browser keeps: shown, compared, exchanged for one that was kept elsewhere, or forgotten.
import { useId, useState, type ReactNode } from 'react';
import { useQueryClient } from '@tanstack/react-query';
import { verificationKey } from '../api/queries';
import { keyFault, type Check } from '../evidence/check';
import { keyId, setLogKey, useLogKey } from '../evidence/log-key';
import { copyText } from '../util/toast';
import { Icon } from './icons';
import { Time } from './marks';

/** Loud, since it is what a log that was written anew looks like; calm about the other reason, since that happens too. */
export function KeyWarning({ result }: { result: Check }) {
  const kept = useLogKey();
  if (!result.otherKey || !kept) return null;
  return (
    <p role="alert" className="check-note bad">
      <Icon name="warning" size={14} />
      <span>
        <strong>The server names another key.</strong> It is <span className="mono">{keyId(result.otherKey)}</span>; this browser keeps <span className="mono">{keyId(kept.key)}</span>, since <Time value={kept.since} style="seconds" zone />, and checked with that.
        Either another ledger is served here now, or somebody wrote the log anew. Ask whoever runs it, and compare with a key kept elsewhere, before you take the new one.
      </span>
    </p>
  );
}

function GiveKey({ onKept, children }: { onKept: (key: string) => void; children: ReactNode }) {
  const id = useId();
  const [text, setText] = useState('');
  const [fault, setFault] = useState<string>();
  async function keep() {
    const key = text.trim();
    const why = await keyFault(key);
    setFault(why);
    if (why) return;
    setText('');
    onKept(key);
  }
  return (
    <div className="field">
      <label htmlFor={id}>A key kept elsewhere</label>
      <textarea id={id} className="input mono" rows={2} spellCheck={false} placeholder="name+id+key, as in keys/checkpoint.vkey" value={text} aria-invalid={fault !== undefined} aria-describedby={fault ? `${id}-fault` : undefined} onChange={(e) => setText(e.target.value)} />
      {fault ? <span id={`${id}-fault`} className="error" role="alert">{fault}</span> : null}
      <div className="line"><button type="button" className="button small" disabled={text.trim() === ''} onClick={() => void keep()}>Trust this key</button>{children}</div>
    </div>
  );
}

/** Under which key this browser checks; folded, since most days nothing has to be done about it. */
export function LogKeyPart({ onChange }: { onChange: () => void }) {
  const kept = useLogKey();
  const queryClient = useQueryClient();
  const exchange = (key: string | undefined) => {
    setLogKey(key ? { key, since: new Date().toISOString(), from: 'person' } : undefined);
    // What was verified under another key says nothing any more.
    void queryClient.resetQueries({ queryKey: verificationKey() });
    onChange();
  };
  return (
    <details className="log-key">
      <summary>{kept ? <>Log key <span className="mono">{keyId(kept.key)}</span> <span className="muted">{kept.from === 'person' ? 'given by hand' : 'kept on first use'}, <Time value={kept.since} style="seconds" zone /></span></> : 'No log key kept in this browser'}</summary>
      <div className="stack tight">
        {kept ? (
          <>
            <div className="line"><code className="grow key-text">{kept.key}</code><button type="button" className="button plain icon" aria-label="Copy the key" title="Copy the key" onClick={() => void copyText(kept.key, 'the key')}><Icon name="copy" size={12} /></button></div>
            <p className="muted">{kept.from === 'person' ? 'Every record is checked under this key, whatever the server says.' : 'It came from this server. Compare it with one that was kept when the ledger was made, or give that one here.'}</p>
          </>
        ) : <p className="muted">The first key under which a record verifies is kept. Better: give one that was kept when the ledger was made.</p>}
        <GiveKey onKept={exchange}>
          {kept ? <button type="button" className="button small danger" onClick={() => exchange(undefined)}>Forget the key, take the server’s</button> : null}
        </GiveKey>
        <p className="muted">This page comes from the server, too. For a check that owes it nothing, download proof and bytes and run <code>reeve-verify</code>.</p>
      </div>
    </details>
  );
}
