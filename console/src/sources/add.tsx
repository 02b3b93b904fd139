import { useState, type FormEvent } from 'react';
import { Link } from '@tanstack/react-router';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { changeSource, sourcesQuery } from '../api/queries';
import type { SourceChange } from '../api/types';
import { Modal } from '../ui/modal';
import { paths } from '../util/paths';
import { Setup } from './setup';

const WAYS = ['curl', 'filebeat', 'fluent-bit', 'vector', 'otel', 'splunk', 'rsyslog', 'journal-upload'];
const TOKENLESS = ['rsyslog', 'journal-upload'];

/** Says when the first event has come. */
function Waiting({ name }: { name: string }) {
  const { data } = useQuery({ ...sourcesQuery(), refetchInterval: 2000 });
  const source = data?.sources.find((s) => s.name === name);
  if (!source || source.records === 0) return <p className="muted" role="status">Waiting for its first event…</p>;
  return <p role="status">It has come. <Link {...paths.search({ q: source.query })} className="button primary small">Search its events</Link> <Link {...paths.source(name)} className="button small">Open the source</Link></p>;
}

/** Registers a source, shows what to paste, and waits for its first event. */
export function AddSource({ onClose }: { onClose: () => void }) {
  const queryClient = useQueryClient();
  const [name, setName] = useState('');
  const [way, setWay] = useState('curl');
  const [label, setLabel] = useState('default');
  const [addresses, setAddresses] = useState('');
  const add = useMutation({
    mutationFn: (change: SourceChange) => changeSource(change),
    onSuccess: () => queryClient.invalidateQueries({ queryKey: ['sources'] }),
  });
  function onSubmit(event: FormEvent) {
    event.preventDefault();
    add.mutate({ act: 'add', name: name.trim(), way, label: label.trim() || 'default', addresses: addresses.split(/[\s,]+/).filter(Boolean) });
  }
  const tokenless = TOKENLESS.includes(way);
  return (
    <Modal label="Add a source" onClose={onClose}>
      <form className="source-form" onSubmit={onSubmit}>
        <h2>Add a source</h2>
        {add.data ? <><Setup made={add.data} /><Waiting name={add.data.source.name} /></> : (
          <>
            <div className="line">
              <div className="field"><label htmlFor="source-name">Name</label><input id="source-name" className="input" value={name} required autoFocus placeholder="web1" onChange={(e) => setName(e.target.value)} /></div>
              <div className="field"><label htmlFor="source-way">Sends with</label><select id="source-way" className="input" value={way} onChange={(e) => setWay(e.target.value)}>{WAYS.map((w) => <option key={w}>{w}</option>)}</select></div>
            </div>
            <div className="line">
              <div className="field"><label htmlFor="source-label">Policy label, for good</label><input id="source-label" className="input" value={label} onChange={(e) => setLabel(e.target.value)} /></div>
              <div className="field"><label htmlFor="source-addresses">Addresses or networks{tokenless ? '' : ', instead of a token'}</label><input id="source-addresses" className="input" value={addresses} required={tokenless} placeholder={tokenless ? '192.0.2.0/24' : ''} onChange={(e) => setAddresses(e.target.value)} /></div>
            </div>
            {add.error ? <p className="bad-text" role="alert">{add.error.message}</p> : null}
            <div className="line"><button className="button primary" disabled={add.isPending}>Register</button></div>
          </>
        )}
        <div className="line"><button type="button" className="button" onClick={onClose}>{add.data ? 'Close' : 'Cancel'}</button></div>
      </form>
    </Modal>
  );
}
