import { useId, useRef, useState, type ReactNode } from 'react';

interface Props {
  label: string;
  className?: string;
  trigger: ReactNode;
  triggerTitle?: string | undefined;
  disabled?: boolean;
  /** Rendered only while open; gets a function that closes the panel. */
  children: (close: () => void) => ReactNode;
}

/** A button with a panel in the browser's top layer: Escape and a click outside close it, focus returns by itself. */
export function Popover({ label, className = 'button', trigger, triggerTitle, disabled = false, children }: Props) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const panel = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState(false);

  function place() {
    const anchor = button.current?.getBoundingClientRect();
    const box = panel.current;
    if (!anchor || !box) return;
    const { width, height } = box.getBoundingClientRect();
    const below = anchor.bottom + 6 + height <= window.innerHeight || anchor.top < height;
    box.style.left = `${Math.max(8, Math.min(anchor.left, window.innerWidth - width - 8))}px`;
    box.style.top = below ? `${Math.min(anchor.bottom + 6, Math.max(8, window.innerHeight - height - 8))}px` : `${anchor.top - height - 6}px`;
  }

  return (
    <>
      <button ref={button} type="button" className={className} popoverTarget={id} aria-haspopup="dialog" aria-expanded={open} title={triggerTitle} disabled={disabled} onClick={(e) => e.stopPropagation()}>
        {trigger}
      </button>
      <div
        ref={(node) => {
          panel.current = node;
          if (!node) return;
          // Content that arrives later changes the size, so the place is worked out again.
          const watch = new ResizeObserver(place);
          watch.observe(node);
          return () => watch.disconnect();
        }}
        id={id}
        popover="auto"
        className="pop"
        role="dialog"
        aria-label={label}
        onClick={(e) => e.stopPropagation()}
        onKeyDown={(e) => e.stopPropagation()}
        onBeforeToggle={(e) => setOpen(e.newState === 'open')}
        onToggle={(e) => { if (e.newState === 'open') place(); }}
      >
        {open ? children(() => panel.current?.hidePopover()) : null}
      </div>
    </>
  );
}
