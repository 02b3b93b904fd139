import { useId, useMemo, useRef, useState, type ReactNode } from 'react';
import { columnResizingFeature, columnSizingFeature, tableFeatures, useTable } from '@tanstack/react-table';
import { useVirtualizer } from '@tanstack/react-virtual';
import { useGridKeys } from './keys';

export interface GridColumn<T> {
  id: string;
  header: string;
  /** Width in pixels before anybody drags it; a growing column takes what is left. */
  size: number;
  grow?: boolean;
  cell: (row: T) => ReactNode;
}

interface Props<T> {
  label: string;
  rows: T[];
  columns: GridColumn<T>[];
  rowId: (row: T) => string;
  /** What Enter or a click does: expand in place where `detail` is given, else `onOpen`. */
  detail?: (row: T) => ReactNode;
  onOpen?: (row: T) => void;
  footer?: ReactNode;
}

const ROW_HEIGHT = 28;
const features = tableFeatures({ columnSizingFeature, columnResizingFeature });

/** A virtual grid: only rows in sight exist in the page, whatever the number of results. */
export function Grid<T extends object>({ label, rows, columns, rowId, detail, onOpen, footer }: Props<T>) {
  const id = useId();
  const scroller = useRef<HTMLDivElement>(null);
  const grid = useRef<HTMLDivElement>(null);
  const [active, setActive] = useState(-1);
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());

  const defs = useMemo(() => columns.map((c) => ({ id: c.id, accessorFn: (row: T) => row, header: c.header, size: c.size, minSize: Math.min(48, c.size) })), [columns]);
  const table = useTable({ features, columns: defs, data: rows, columnResizeMode: 'onChange', getRowId: rowId });
  const headers = table.getHeaderGroups()[0]?.headers ?? [];
  const least = headers.reduce((sum, h) => sum + h.getSize(), 0);
  const template = headers.map((h, i) => (columns[i]?.grow ? `minmax(${h.getSize()}px, 1fr)` : `${h.getSize()}px`)).join(' ');

  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT,
    overscan: 12,
    scrollPaddingStart: 30,
    getItemKey: (i) => (rows[i] ? rowId(rows[i]) : i),
  });

  function activate(index: number) {
    const row = rows[index];
    if (!row) return;
    setActive(index);
    if (!detail) return onOpen?.(row);
    const key = rowId(row);
    setOpen((was) => {
      const next = new Set(was);
      if (!next.delete(key)) next.add(key);
      return next;
    });
  }

  useGridKeys({ grid, id, count: rows.length, active, activate, move: (index) => { setActive(index); virtual.scrollToIndex(index, { align: 'auto' }); } });

  return (
    <div ref={scroller} className="grid">
      <div ref={grid} role={detail ? 'treegrid' : 'grid'} tabIndex={0} aria-label={label} aria-rowcount={rows.length + 1} aria-colcount={columns.length} aria-activedescendant={active >= 0 ? `${id}-${active}` : undefined}>
        <div className="head" role="rowgroup" style={{ minWidth: least }}>
          <div className="grid-row" role="row" aria-rowindex={1} style={{ gridTemplateColumns: template }}>
            {headers.map((h, i) => (
              <div key={h.id} role="columnheader">
                {columns[i]?.header ? columns[i].header : <span className="visually-hidden">{h.id}</span>}
                {columns[i]?.grow || !columns[i]?.header ? null : <span className="resize" aria-hidden="true" onMouseDown={h.getResizeHandler()} onTouchStart={h.getResizeHandler()} />}
              </div>
            ))}
          </div>
        </div>
        <div className="items" role="rowgroup" style={{ height: virtual.getTotalSize(), minWidth: least }}>
          {virtual.getVirtualItems().map((item) => {
            const row = rows[item.index];
            if (!row) return null;
            const key = rowId(row);
            const expanded = open.has(key);
            return (
              <div key={item.key} ref={virtual.measureElement} data-index={item.index} className="item" role="presentation" style={{ transform: `translateY(${item.start}px)` }}>
                <div id={`${id}-${item.index}`} role="row" aria-rowindex={item.index + 2} aria-level={detail ? 1 : undefined} aria-selected={item.index === active} aria-expanded={detail ? expanded : undefined} className={`grid-row body-row${item.index === active ? ' active' : ''}`} style={{ gridTemplateColumns: template }} onClick={() => { if (!window.getSelection()?.toString()) activate(item.index); }}>
                  {columns.map((c) => <div key={c.id} role="gridcell">{c.cell(row)}</div>)}
                </div>
                {detail && expanded ? (
                  <div role="row" aria-level={2}><div role="gridcell" className="detail" style={{ width: scroller.current?.clientWidth }}>{detail(row)}</div></div>
                ) : null}
              </div>
            );
          })}
        </div>
      </div>
      {footer ? <div className="foot">{footer}</div> : null}
    </div>
  );
}
