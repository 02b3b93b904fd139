import { useEffect, useRef, type ReactNode } from 'react';

/** A modal dialog of the browser's own: it traps focus, Escape closes it, focus returns to where it was. */
export function Modal({ label, className = '', onClose, children }: { label: string; className?: string; onClose: () => void; children: ReactNode }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const node = dialog.current;
    if (node && !node.open) node.showModal();
  }, []);
  return (
    <dialog ref={dialog} className={`modal ${className}`} aria-label={label} onClose={onClose} onClick={(e) => { if (e.target === dialog.current) dialog.current?.close(); }}>
      {children}
    </dialog>
  );
}
