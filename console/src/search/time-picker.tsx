import { useState, type FormEvent } from 'react';
import { Icon } from '../ui/icons';
import { Popover } from '../ui/popover';
import { usePreferences } from '../util/preferences';
import { formatDuration, formatTime, parseTime, toIso, zoneName } from '../util/time';
import { PRESETS, presetRange, type Extent } from './range';

interface Props { from: string; to: string; extent: Extent | undefined; onChange: (range: { from: string; to: string }) => void }

function Custom({ from, to, onChange }: Omit<Props, 'extent'>) {
  const [error, setError] = useState<string>();
  function onSubmit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const now = Date.now();
    const [a, b] = [parseTime(String(form.get('from')), now), parseTime(String(form.get('to')), now)];
    if (a === undefined || b === undefined) setError(`\`${String(form.get(a === undefined ? 'from' : 'to'))}\` is no time; write 2026-11-20 07:00, or now-2h`);
    else if (a >= b) setError('the start must lie before the end');
    else onChange({ from: toIso(a), to: toIso(b) });
  }
  return (
    <form className="custom-time" onSubmit={onSubmit}>
      <div className="field"><label htmlFor="time-from">From (UTC unless an offset is written)</label><input id="time-from" name="from" className="input mono" defaultValue={formatTime(from, 'utc')} /></div>
      <div className="field"><label htmlFor="time-to">To</label><input id="time-to" name="to" className="input mono" defaultValue={formatTime(to, 'utc')} /></div>
      {error ? <p role="alert" className="bad-text">{error}</p> : null}
      <button className="button primary">Apply</button>
      <p className="muted">Relative times are turned into absolute ones, so the address of this page always shows the same events.</p>
    </form>
  );
}

/** Shows the absolute range; offers presets, own bounds, and steps back and forth by the same width. */
export function TimePicker({ from, to, extent, onChange }: Props) {
  const { zone } = usePreferences();
  const [a, b] = [Date.parse(from), Date.parse(to)];
  const shift = (by: number) => onChange({ from: toIso(a + by * (b - a)), to: toIso(b + by * (b - a)) });
  const sameDay = formatTime(from, zone).slice(0, 10) === formatTime(to, zone).slice(0, 10);
  const short = (value: string, alone: boolean) => formatTime(value, zone, 'seconds').slice(alone ? 11 : 0);
  return (
    <div className="time-picker">
      <button type="button" className="button icon" aria-label="Earlier" title="Earlier by the same width" onClick={() => shift(-1)}><Icon name="left" /></button>
      <Popover label="Time range" trigger={<><Icon name="clock" /><span>{short(from, false)} – {short(to, sameDay)} {zoneName(from, zone)}</span><span className="muted">{formatDuration(b - a)}</span></>}>
        {(close) => (
          <div className="time-panel">
            <ul aria-label="Relative to now">
              {PRESETS.map((p) => <li key={p.label}><button type="button" className="button plain small" onClick={() => { onChange(presetRange(p.ms, Date.now(), extent)); close(); }}>{p.label}</button></li>)}
            </ul>
            <Custom from={from} to={to} onChange={(r) => { onChange(r); close(); }} />
          </div>
        )}
      </Popover>
      <button type="button" className="button icon" aria-label="Later" title="Later by the same width" onClick={() => shift(1)}><Icon name="right" /></button>
    </div>
  );
}
