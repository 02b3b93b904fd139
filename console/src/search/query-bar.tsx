import { useEffect, useId, useRef, useState, type KeyboardEvent } from 'react';
import type { ApiErrorBody } from '../api/types';
import { charOffset, completions } from '../util/query';

interface Props {
  value: string;
  /** The text is SQL: nothing is completed. */
  sql: boolean;
  fields: { name: string; detail: string }[];
  error: ApiErrorBody | undefined;
  onSubmit: (q: string) => void;
}

/** The search bar: completes field names and pipes, shows an error under the place where it lies. */
export function QueryBar({ value, sql, fields, error, onSubmit }: Props) {
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  const overlay = useRef<HTMLDivElement>(null);
  const [text, setText] = useState(value);
  const [cursor, setCursor] = useState<number>();
  const [active, setActive] = useState(-1);
  useEffect(() => setText(value), [value]);

  const offer = cursor === undefined || sql ? undefined : completions(text, cursor, fields);
  const shownError = error && text === value ? error : undefined;
  const offset = typeof shownError?.offset === 'number' ? charOffset(text, shownError.offset) : undefined;

  function accept(index: number) {
    const option = offer?.options[index];
    if (!offer || !option) return;
    const next = text.slice(0, offer.from) + option.insert + text.slice(offer.to);
    setText(next);
    setActive(-1);
    const at = offer.from + option.insert.length;
    setCursor(undefined);
    requestAnimationFrame(() => input.current?.setSelectionRange(at, at));
  }

  function onKeyDown(event: KeyboardEvent) {
    const count = offer?.options.length ?? 0;
    if (count > 0 && (event.key === 'ArrowDown' || event.key === 'ArrowUp')) {
      event.preventDefault();
      setActive((was) => (was + (event.key === 'ArrowDown' ? 1 : -1) + count) % count);
    } else if (count > 0 && (event.key === 'Tab' || (event.key === 'Enter' && active >= 0))) {
      event.preventDefault();
      accept(Math.max(0, active));
    } else if (event.key === 'Escape') {
      if (offer) setCursor(undefined);
      else input.current?.blur();
    } else if (event.key === 'Enter') {
      setCursor(undefined);
      onSubmit(text.trim());
    }
  }

  const sync = () => { if (overlay.current && input.current) overlay.current.scrollLeft = input.current.scrollLeft; };

  return (
    <div className="query-bar">
      <div className="query-field">
        {offset !== undefined ? (
          <div className="query-overlay" ref={overlay} aria-hidden="true">{text.slice(0, offset)}<u>{text.slice(offset).split(/(?<=\S)\s/)[0] || ' '}</u></div>
        ) : null}
        <input ref={input} data-focus="search" className="input mono" role="combobox" aria-label="Query" aria-expanded={offer !== undefined} aria-controls={`${id}-list`} aria-activedescendant={active >= 0 ? `${id}-${active}` : undefined} aria-autocomplete="list" aria-invalid={shownError !== undefined} aria-describedby={`${id}-error`} spellCheck={false} autoComplete="off" placeholder={sql ? 'SELECT … FROM events WHERE … GROUP BY …' : 'Words, field:value, AND OR NOT, "a phrase", then | stats, top, timechart …'} value={text}
          onChange={(e) => { setText(e.target.value); setCursor(e.target.selectionStart ?? undefined); setActive(-1); }} onKeyDown={onKeyDown} onScroll={sync} onBlur={() => setCursor(undefined)} />
        {offer ? (
          <ul id={`${id}-list`} role="listbox" aria-label="Completions" className="completions">
            {offer.options.map((o, i) => (
              <li key={o.label} id={`${id}-${i}`} role="option" aria-selected={i === active} onMouseDown={(e) => { e.preventDefault(); accept(i); }}><code>{o.label}</code><span className="muted">{o.detail}</span></li>
            ))}
          </ul>
        ) : <span id={`${id}-list`} hidden />}
      </div>
      <button type="button" className="button primary" onClick={() => onSubmit(text.trim())}>Search</button>
      <p id={`${id}-error`} className="query-error" role="alert">{shownError ? <>{offset !== undefined ? <span className="mono">column {offset + 1}: </span> : null}{shownError.message}</> : null}</p>
    </div>
  );
}
