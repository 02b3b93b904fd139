import type { ProcessNode } from '../api/types';

export interface Placed { key: string; node: ProcessNode; depth: number; parent: string | undefined; children: string[]; row: number }

/** The roots, whichever of the shapes the server uses. */
export function nodesOf(tree: ProcessNode[] | ProcessNode | null | undefined): ProcessNode[] {
  if (!tree) return [];
  if (Array.isArray(tree)) return tree;
  return tree.name || tree.pid || tree.cmd_line ? [tree] : (tree.children ?? []);
}

/**
 * A tidy indented tree: one row a process, depth to the right, parents straight above their children.
 * Children of folded nodes get no row.
 */
export function place(roots: ProcessNode[], folded: ReadonlySet<string>): Placed[] {
  const out: Placed[] = [];
  const walk = (node: ProcessNode, depth: number, parent: string | undefined, path: string) => {
    const key = `${path}/${node.id ?? `${node.host}:${node.pid}:${node.at}`}`;
    const children = node.children ?? [];
    const placed: Placed = { key, node, depth, parent, children: [], row: out.length };
    out.push(placed);
    if (folded.has(key)) return key;
    placed.children = children.map((child, i) => walk(child, depth + 1, key, `${key}.${i}`));
    return key;
  };
  roots.forEach((root, i) => walk(root, 0, undefined, String(i)));
  return out;
}
