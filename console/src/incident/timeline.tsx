import { useEffect, useMemo, useRef, useState, type PointerEvent } from 'react';
import type { Incident } from '../api/types';
import { usePreferences } from '../util/preferences';
import { formatTime, zoneName } from '../util/time';
import { LANE, LEFT, TOP, fullRange, layout, type Mark } from './timeline-layout';

interface Props { incident: Incident; selected: number | undefined; onSelect: (n: number) => void }

function StepMark({ mark, selected, onSelect, label }: { mark: Mark; selected: boolean; onSelect: () => void; label: string }) {
  const { step, x, y } = mark;
  return (
    <g className={`mark ${step.certainty ?? 'unknown'}${selected ? ' selected' : ''}`} transform={`translate(${x} ${y})`} role="button" tabIndex={0} aria-label={label} aria-pressed={selected} onClick={onSelect} onPointerDown={(e) => e.stopPropagation()} onKeyDown={(e) => { if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); onSelect(); } }}>
      <title>{label}</title>
      <circle r={11} />
      <text dy="3.600">{step.n}</text>
    </g>
  );
}

/** Lanes per host, steps in time, curves for what led to what. Dragging zooms in. */
export function Timeline({ incident, selected, onSelect }: Props) {
  const { zone } = usePreferences();
  const host = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(1000);
  const full = useMemo(() => fullRange(incident.steps), [incident.steps]);
  const [view, setView] = useState<[number, number]>();
  const [drag, setDrag] = useState<[number, number]>();
  const [from, to] = view ?? full;

  useEffect(() => {
    const node = host.current;
    if (!node) return;
    const watch = new ResizeObserver(() => setWidth(node.clientWidth));
    watch.observe(node);
    return () => watch.disconnect();
  }, []);

  const drawn = useMemo(() => layout(incident, from, to, width), [incident, from, to, width]);
  const at = (e: PointerEvent) => Math.max(LEFT, Math.min(width - 24, e.clientX - (host.current?.getBoundingClientRect().left ?? 0)));
  const timeAt = (x: number) => from + ((x - LEFT) / (width - 24 - LEFT)) * (to - from);

  function onPointerUp() {
    if (drag && Math.abs(drag[1] - drag[0]) > 6) setView([timeAt(Math.min(...drag)), timeAt(Math.max(...drag))]);
    setDrag(undefined);
  }

  const span = to - from;
  const style = span < 120_000 ? 'clock' : 'seconds';
  return (
    <div className="timeline" ref={host}>
      {view ? <button type="button" className="button small zoom-out" onClick={() => setView(undefined)}>Show all</button> : null}
      <svg width={width} height={drawn.height} role="group" aria-label={`Timeline of ${incident.steps.length} steps on ${drawn.lanes.length} hosts`}
        onPointerDown={(e) => { e.currentTarget.setPointerCapture(e.pointerId); setDrag([at(e), at(e)]); }} onPointerMove={(e) => { if (drag) setDrag([drag[0], at(e)]); }} onPointerUp={onPointerUp} onDoubleClick={() => setView(undefined)}>
        <defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerUnits="userSpaceOnUse" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 .5 7.500 4 0 7.500Z" /></marker></defs>
        <text className="axis" x={12} y={16}>{formatTime(from, zone, 'seconds').slice(0, 10)} {zoneName(from, zone)}</text>
        {drawn.ticks.map((t) => <g key={t.at} className="tick"><line x1={t.x} x2={t.x} y1={TOP} y2={drawn.height - 8} /><text x={t.x} y={16}>{span > 172_800_000 ? formatTime(t.at, zone, 'seconds').slice(5, 16) : formatTime(t.at, zone, style).slice(style === 'clock' ? 0 : 11, style === 'clock' ? 8 : span < 7_200_000 ? 19 : 16)}</text></g>)}
        {drawn.lanes.map((l) => <g key={l.host} className="lane"><line x1={LEFT} x2={width - 24} y1={l.y} y2={l.y} /><text x={12} y={l.y + 4}>{l.host.length > 16 ? `${l.host.slice(0, 15)}…` : l.host}<title>{l.host}</title></text></g>)}
        {drawn.links.map((l) => <path key={l.key} className={`link ${l.kind}${selected === l.from || selected === l.to ? ' selected' : ''}`} d={l.path} markerEnd="url(#arrow)"><title>{`step ${l.from} → ${l.to}: ${l.kind.replaceAll('_', ' ')}`}</title></path>)}
        {drawn.marks.filter((m) => m.step.time_certainty && m.step.time_certainty !== 'exact').map((m) => <path key={m.step.n} className="error-bar" transform={`translate(${m.x} ${m.y})`} d="M-19 -4v8M-19 0h38M19 -4v8" />)}
        {drawn.marks.map((m) => <StepMark key={m.step.n} mark={m} selected={m.step.n === selected} onSelect={() => onSelect(m.step.n)} label={`Step ${m.step.n}, ${formatTime(m.step.time, zone)} ${zoneName(m.step.time, zone)}, ${m.step.host ?? 'unknown host'}: ${m.step.action.replaceAll('`', '')}`} />)}
        {drag ? <rect className="brush" x={Math.min(...drag)} width={Math.abs(drag[1] - drag[0])} y={TOP} height={LANE * drawn.lanes.length + 8} /> : null}
      </svg>
      <p className="legend muted"><span>● order certain</span><span>◐ likely (dashed edge)</span><span>○ unknown (dotted edge)</span><span>├ ┤ time inferred or time of receipt</span></p>
    </div>
  );
}
