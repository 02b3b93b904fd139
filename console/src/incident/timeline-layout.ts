import type { Incident, Step } from '../api/types';

export const LANE = 58;
export const TOP = 26;
export const LEFT = 148;
const RADIUS = 11;

export interface Mark { step: Step; x: number; y: number }
export interface Layout { lanes: { host: string; y: number }[]; marks: Mark[]; links: { key: string; path: string; kind: string; from: number; to: number }[]; ticks: { x: number; at: number }[]; height: number }

const TICKS = [1000, 5000, 15_000, 60_000, 300_000, 900_000, 1_800_000, 3_600_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000, 604_800_000, 2_592_000_000];

export function ticks(from: number, to: number, width: number): number[] {
  const room = Math.max(2, Math.floor(width / 110));
  const step = TICKS.find((t) => (to - from) / t <= room) ?? 31_536_000_000;
  const list: number[] = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) list.push(at);
  return list;
}

/**
 * Steps at one moment on one host are moved apart sideways, so that each can be seen and clicked; at the right end they
 * give way to the left. More than fit come closer together.
 */
function spread(lane: Mark[], right: number) {
  const sorted = [...lane].sort((a, b) => a.x - b.x || a.step.n - b.step.n);
  const gap = Math.min(RADIUS * 2 + 3, (right - LEFT) / Math.max(1, sorted.length - 1));
  sorted.forEach((mark, i) => { mark.x = Math.max(mark.x, (sorted[i - 1]?.x ?? -Infinity) + gap); });
  let most = right;
  for (const mark of sorted.reverse()) {
    mark.x = Math.min(mark.x, most);
    most = mark.x - gap;
  }
}

function curve(a: Mark, b: Mark): string {
  if (a.y === b.y) {
    const lift = Math.min(26, 10 + Math.abs(b.x - a.x) / 8);
    return `M${a.x} ${a.y - RADIUS}C${a.x} ${a.y - RADIUS - lift},${b.x} ${b.y - RADIUS - lift},${b.x} ${b.y - RADIUS}`;
  }
  const sign = b.y > a.y ? 1 : -1;
  const middle = (a.y + b.y) / 2;
  return `M${a.x} ${a.y + sign * RADIUS}C${a.x} ${middle},${b.x} ${middle},${b.x} ${b.y - sign * RADIUS}`;
}

export function layout(incident: Pick<Incident, 'hosts' | 'steps' | 'edges'>, from: number, to: number, width: number): Layout {
  const hosts = [...new Set([...incident.steps.map((s) => s.host || 'unknown'), ...incident.hosts])];
  const lanes = hosts.map((host, i) => ({ host, y: TOP + LANE * i + LANE / 2 + 6 }));
  const right = width - 24;
  const scale = (at: number) => LEFT + ((at - from) / Math.max(1, to - from)) * (right - LEFT);
  const marks: Mark[] = incident.steps
    .map((step) => ({ step, x: scale(Date.parse(step.time)), y: lanes.find((l) => l.host === (step.host || 'unknown'))?.y ?? TOP }))
    .filter((m) => m.x >= LEFT - 1 && m.x <= right + 1);
  for (const lane of lanes) spread(marks.filter((m) => m.y === lane.y), right);
  const links = incident.edges.flatMap((e) => {
    const [a, b] = [marks.find((m) => m.step.n === e.from), marks.find((m) => m.step.n === e.to)];
    return a && b && a !== b ? [{ key: `${e.from}-${e.to}-${e.kind ?? ''}`, path: curve(a, b), kind: e.kind ?? '', from: e.from, to: e.to }] : [];
  });
  return { lanes, marks, links, ticks: ticks(from, to, right - LEFT).map((at) => ({ at, x: scale(at) })), height: TOP + LANE * hosts.length + 16 };
}

/** The range of all steps with a little air, so that the outermost are not cut. */
export function fullRange(steps: Step[]): [number, number] {
  const times = steps.map((s) => Date.parse(s.time)).filter((t) => !Number.isNaN(t));
  if (times.length === 0) return [0, 1];
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const air = Math.max(500, (last - first) * 0.03);
  return [first - air, last + air];
}
