import type { RefObject } from 'react';
import { useShortcuts } from '../util/shortcuts';

interface Keys {
  grid: RefObject<HTMLDivElement | null>;
  id: string;
  count: number;
  active: number;
  activate: (index: number) => void;
  move: (index: number) => void;
}

/** Row keys that work wherever the focus is, except in fields; arrows only while the grid itself has the focus. */
export function useGridKeys({ grid, id, count, active, activate, move }: Keys) {
  const step = (by: number) => {
    if (count > 0) move(Math.max(0, Math.min(count - 1, active + by)));
  };
  const focused = () => document.activeElement === grid.current;
  const onControl = (event: KeyboardEvent) => event.target instanceof HTMLElement && event.target.closest('button, a, [role="tab"], [role="tree"], [popover]') !== null;
  const arrow = (by: number) => () => (focused() ? step(by) : false);
  useShortcuts({
    j: () => step(1),
    k: () => step(-1),
    ArrowDown: arrow(1),
    ArrowUp: arrow(-1),
    PageDown: arrow(20),
    PageUp: arrow(-20),
    Home: arrow(-count),
    End: arrow(count),
    Enter: (event) => (onControl(event) || active < 0 ? false : activate(active)),
    v: () => document.getElementById(`${id}-${active}`)?.querySelector<HTMLButtonElement>('.evidence-button')?.click(),
  });
}
