import { useEffect, useRef, useState, type KeyboardEvent } from 'react';
import { Link } from '@tanstack/react-router';
import type { ProcessNode } from '../api/types';
import { EvidenceBadge } from '../ui/evidence';
import { Icon } from '../ui/icons';
import { Time } from '../ui/marks';
import { paths } from '../util/paths';
import { copyText } from '../util/toast';
import { place, type Placed } from './tree-layout';

const ROW = 40;
const INDENT = 18;
const MARGIN = 12;

/** Elbows from each parent down to its children. */
function Branches({ placed }: { placed: Placed[] }) {
  const rows = new Map(placed.map((p) => [p.key, p]));
  const height = placed.length * ROW;
  const width = MARGIN + INDENT * (1 + Math.max(...placed.map((p) => p.depth)));
  const paths = placed.flatMap((p) => {
    const parent = p.parent ? rows.get(p.parent) : undefined;
    if (!parent) return [];
    const [x, y1, y2] = [MARGIN + parent.depth * INDENT, parent.row * ROW + ROW / 2 + 6, p.row * ROW + ROW / 2];
    return [`M${x} ${y1}V${y2 - 6}Q${x} ${y2} ${x + 6} ${y2}H${x + INDENT - 6}`];
  });
  return <svg className="branches" width={width} height={height} aria-hidden="true"><path d={paths.join('')} />{placed.map((p) => <circle key={p.key} cx={MARGIN + p.depth * INDENT} cy={p.row * ROW + ROW / 2} r={4} className={p.node.step ? 'step' : ''} />)}</svg>;
}

function Detail({ node }: { node: ProcessNode }) {
  const record = node.records?.[0];
  return (
    <div className="process-detail stack tight" aria-live="polite">
      <div className="spread"><h3>{node.name || 'process'} <span className="muted">pid {node.pid ?? 'unknown'} on {node.host ?? 'unknown host'}</span></h3>{node.cmd_line ? <button type="button" className="button small" onClick={() => void copyText(node.cmd_line ?? '', 'the command line')}><Icon name="copy" size={12} /> Copy</button> : null}</div>
      {node.cmd_line ? <code className="command">{node.cmd_line}</code> : <p className="muted">{record ? 'No command line was recorded.' : 'Its start is not among the records; it is known as a parent only.'}</p>}
      <div className="line">{node.user ? <span className="chip">{node.user}</span> : null}{node.at ? <Time value={node.at} zone /> : null}{record ? <><Link {...paths.record(record)} className="mono">{record}</Link><EvidenceBadge record={record} /></> : null}</div>
    </div>
  );
}

/** Processes as a tree one walks with the arrow keys. */
export function ProcessTree({ roots, selected, onSelect }: { roots: ProcessNode[]; selected: number | undefined; onSelect: (n: number) => void }) {
  const [folded, setFolded] = useState<ReadonlySet<string>>(new Set());
  const [picked, setPicked] = useState<{ key: string; step: number | undefined }>();
  const tree = useRef<HTMLDivElement>(null);
  const placed = place(roots, folded);
  // A pick holds until another step is selected elsewhere.
  const current = placed.find((p) => p.key === picked?.key && (picked.step === selected || p.node.step === selected)) ?? placed.find((p) => selected !== undefined && p.node.step === selected) ?? placed[0];

  // A step chosen elsewhere brings its process into sight, without moving the page.
  const row = current?.row;
  useEffect(() => {
    if (tree.current && row !== undefined) tree.current.scrollTop = Math.max(0, row * ROW - tree.current.clientHeight / 2);
  }, [selected, row]);

  function choose(p: Placed | undefined) {
    if (!p) return;
    setPicked({ key: p.key, step: p.node.step ?? selected });
    if (p.node.step) onSelect(p.node.step);
    tree.current?.querySelectorAll<HTMLElement>('[role="treeitem"]')[p.row]?.focus();
  }
  const fold = (key: string, on: boolean) => setFolded((was) => { const next = new Set(was); if (on) next.add(key); else next.delete(key); return next; });

  function onKeyDown(event: KeyboardEvent) {
    if (!current) return;
    const parent = placed.find((p) => p.key === current.parent);
    const hasChildren = (current.node.children?.length ?? 0) > 0;
    const actions: Record<string, () => void> = {
      ArrowDown: () => choose(placed[current.row + 1]),
      ArrowUp: () => choose(placed[current.row - 1]),
      Home: () => choose(placed[0]),
      End: () => choose(placed[placed.length - 1]),
      ArrowRight: () => (folded.has(current.key) ? fold(current.key, false) : hasChildren ? choose(placed[current.row + 1]) : undefined),
      ArrowLeft: () => (hasChildren && !folded.has(current.key) ? fold(current.key, true) : choose(parent)),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  return (
    <div className="process-tree">
      <div ref={tree} role="tree" aria-label="Process tree" className="tree-rows" onKeyDown={onKeyDown}>
        {placed.length > 0 ? <Branches placed={placed} /> : null}
        {placed.map((p) => {
          const children = p.node.children?.length ?? 0;
          return (
            <div key={p.key} role="treeitem" aria-level={p.depth + 1} aria-selected={p === current} aria-expanded={children > 0 ? !folded.has(p.key) : undefined} tabIndex={p === current ? 0 : -1} className={`tree-row${p === current ? ' current' : ''}`} style={{ paddingLeft: MARGIN + 10 + p.depth * INDENT, minWidth: MARGIN + 250 + p.depth * INDENT }} onClick={() => choose(p)} onDoubleClick={() => fold(p.key, !folded.has(p.key))}>
              <span className="tree-name"><strong>{p.node.name || '?'}</strong> <span className="muted">{p.node.pid ?? ''}{p.depth === 0 && p.node.host ? ` on ${p.node.host}` : ''}</span>{folded.has(p.key) ? <span className="chip">+{children}</span> : null}{p.node.step ? <span className="chip">step {p.node.step}</span> : null}</span>
              <span className="mono ellipsis muted">{p.node.cmd_line || (p.node.records?.length ? 'no command line recorded' : 'parent only')}</span>
            </div>
          );
        })}
      </div>
      {current ? <Detail node={current.node} /> : null}
    </div>
  );
}
