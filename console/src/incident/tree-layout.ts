import type { ProcessNode } from '../api/types';

export interface Placed { key: string; node: ProcessNode; depth: number; parent: string | undefined; children: string[]; row: number }

/**
 * A tidy indented tree: one row a process, depth to the right, parents straight above their children.
 * Children of folded nodes get no row.
 */
export function place(roots: ProcessNode[], folded: ReadonlySet<string>): Placed[] {
  const out: Placed[] = [];
  const walk = (node: ProcessNode, depth: number, parent: string | undefined, path: string) => {
    const key = `${path}/${node.id}`;
    const placed: Placed = { key, node, depth, parent, children: [], row: out.length };
    out.push(placed);
    if (folded.has(key)) return key;
    placed.children = node.children.map((child, i) => walk(child, depth + 1, key, `${key}.${i}`));
    return key;
  };
  roots.forEach((root, i) => walk(root, 0, undefined, String(i)));
  return out;
}
