import { useEffect, useRef, useState } from 'react';
import { Icon } from '../ui/icons';
import { Popover } from '../ui/popover';
import { formatCount, plural } from '../util/format';
import { toast } from '../util/toast';
import { fetchAll, ROWS_MAX, type Format } from './export';
import type { Search } from './stream';

function save(parts: string[], format: Format) {
  const url = URL.createObjectURL(new Blob(parts, { type: format === 'csv' ? 'text/csv' : 'application/x-ndjson' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = `search-${new Date().toISOString().slice(0, 19).replace(/[-:]/g, '')}Z.${format}`;
  link.click();
  // Some browsers still read from it when the click has returned.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Takes the whole answer along, not only the rows that the page has loaded. */
export function Download({ search, columns }: { search: Search; columns: string[] }) {
  const [rows, setRows] = useState<number>();
  const abort = useRef<AbortController>(null);
  useEffect(() => () => abort.current?.abort(), []);

  async function run(format: Format) {
    const controller = new AbortController();
    abort.current = controller;
    setRows(0);
    try {
      const file = await fetchAll(search, format, columns, controller.signal, setRows);
      save(file.parts, format);
      const more = file.cursor || file.truncated;
      toast(more ? `Saved the first ${plural(file.rows, 'row')}; there are more. Narrow the time or the query.` : `Saved ${plural(file.rows, 'row')}.`, Boolean(more));
    } catch (cause) {
      if (!controller.signal.aborted) toast(`Not saved: ${(cause as Error).message}`, true);
    }
    setRows(undefined);
  }

  if (rows !== undefined) return <button type="button" className="button small danger" onClick={() => abort.current?.abort()}>Cancel download, {plural(rows, 'row')}</button>;
  return (
    <Popover label="Download" className="button small" trigger={<><Icon name="download" size={14} /> Download</>}>
      {(close) => (
        <div className="download">
          <p className="muted">All rows of this search, at most {formatCount(ROWS_MAX)}.</p>
          <button type="button" className="button" onClick={() => { close(); void run('csv'); }}>CSV, these columns</button>
          <button type="button" className="button" onClick={() => { close(); void run('ndjson'); }}>NDJSON, all fields</button>
        </div>
      )}
    </Popover>
  );
}
