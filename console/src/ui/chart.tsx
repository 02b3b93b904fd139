import 'uplot/dist/uPlot.min.css';
import { useEffect, useRef, useState } from 'react';
import uPlot from 'uplot';
import { usePreferences } from '../util/preferences';
import { formatCount } from '../util/format';
import { formatTime } from '../util/time';
import { stack, type ChartSeries } from './chart-data';

interface Props {
  label: string;
  /** Start of each bar, milliseconds. */
  times: number[];
  widthMs: number;
  series: ChartSeries[];
  height: number;
  /** A dragged or clicked range, milliseconds. */
  onSelect?: (from: number, to: number) => void;
}

/** Canvas cannot read CSS variables with `light-dark()`, so the browser resolves them on an element first. */
function resolve(host: HTMLElement, color: string): string {
  const probe = document.createElement('span');
  probe.style.color = color;
  host.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

function options(host: HTMLElement, props: Props, zone: 'utc' | 'local', width: number): uPlot.Options {
  const { series, widthMs, height, onSelect } = props;
  const muted = resolve(host, 'var(--muted)');
  const grid = { stroke: resolve(host, 'var(--border)'), width: 1 };
  const font = '11px system-ui, sans-serif';
  const bars = uPlot.paths.bars?.({ size: [0.86, 60], align: 1 });
  return {
    width,
    height,
    legend: { show: false },
    padding: [8, 22, 0, 0],
    scales: { x: { time: true, range: (_, min, max) => [min, max + widthMs / 1000] }, y: { range: (_, __, max) => [0, Math.max(1, max * 1.06)] } },
    tzDate: (ts) => (zone === 'utc' ? uPlot.tzDate(new Date(ts * 1000), 'Etc/UTC') : new Date(ts * 1000)),
    cursor: { y: false, points: { show: false }, drag: { x: onSelect !== undefined, y: false, setScale: false, dist: 4 } },
    axes: [
      { stroke: muted, grid: { show: false }, ticks: { ...grid, size: 4 }, font, size: 26, values: (_, splits, __, ___, incr) => splits.map((s) => formatTime(s * 1000, zone, 'seconds').slice(...(incr >= 86_400 ? [0, 10] : incr >= 60 ? [11, 16] : [11, 19]) as [number, number])) },
      { stroke: muted, grid, ticks: { show: false }, font, size: 46, space: 24, values: (_, splits) => splits.map((s) => (Number.isInteger(s) ? formatCount(s) : '')) },
    ],
    series: [{}, ...[...series].reverse().map((s) => ({ label: s.label, fill: resolve(host, s.color), stroke: resolve(host, s.color), width: 0, ...(bars ? { paths: bars } : {}), points: { show: false } }))],
    hooks: {
      setSelect: [(u) => {
        if (u.select.width < 4) return;
        onSelect?.(Math.round(u.posToVal(u.select.left, 'x') * 1000), Math.round(u.posToVal(u.select.left + u.select.width, 'x') * 1000));
        u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      }],
    },
  };
}

/** Stacked bars over time. Dragging selects a range, a click selects the bar. */
export function Chart(props: Props) {
  const { label, times, widthMs, series, height, onSelect } = props;
  const { zone, theme } = usePreferences();
  const host = useRef<HTMLDivElement>(null);
  const latest = useRef(props);
  useEffect(() => { latest.current = props; });
  const [hover, setHover] = useState<number>();

  useEffect(() => {
    const node = host.current;
    if (!node || times.length === 0) return;
    const data = [times.map((t) => t / 1000), ...stack(series).reverse()] as uPlot.AlignedData;
    const select = (from: number, to: number) => latest.current.onSelect?.(from, to);
    const plot = new uPlot(options(node, { ...latest.current, ...(latest.current.onSelect ? { onSelect: select } : {}) }, zone, node.clientWidth), data, node);
    const at = () => {
      const left = plot.cursor.left ?? -1;
      if (left < 0) return undefined;
      const time = plot.posToVal(left, 'x') * 1000;
      const index = times.findLastIndex((t) => t <= time);
      return index < 0 ? undefined : index;
    };
    plot.over.addEventListener('mousemove', () => setHover(at()));
    plot.over.addEventListener('mouseleave', () => setHover(undefined));
    let downX = 0;
    plot.over.addEventListener('mousedown', (e) => { downX = e.clientX; });
    plot.over.addEventListener('click', (e) => {
      const index = at();
      const time = index === undefined ? undefined : times[index];
      if (time !== undefined && Math.abs(e.clientX - downX) < 4) select(time, time + widthMs);
    });
    const watch = new ResizeObserver(() => plot.setSize({ width: node.clientWidth, height }));
    watch.observe(node);
    return () => { watch.disconnect(); plot.destroy(); };
  }, [times, series, widthMs, height, zone, theme]);

  const shown = hover === undefined ? undefined : times[hover];
  return (
    <figure className="chart">
      <div ref={host} role="img" aria-label={label} className={onSelect ? 'selectable' : ''} />
      <figcaption>
        {shown !== undefined && hover !== undefined ? <><span>{formatTime(shown, zone, 'seconds')}</span>{series.filter((s) => (s.values[hover] ?? 0) > 0).map((s) => <Key key={s.label} color={s.color} text={`${s.label} ${formatCount(s.values[hover] ?? 0)}`} />)}</>
          : series.map((s) => <Key key={s.label} color={s.color} text={s.label} />)}
      </figcaption>
    </figure>
  );
}

function Key({ color, text }: { color: string; text: string }) {
  return <span className="key"><svg width="9" height="9" aria-hidden="true"><rect width="9" height="9" rx="2" style={{ fill: color }} /></svg>{text}</span>;
}
