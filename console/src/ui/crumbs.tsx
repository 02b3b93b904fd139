import type { ReactNode } from 'react';

export function Crumbs({ children }: { children: ReactNode[] }) {
  return <nav className="crumbs" aria-label="Breadcrumb"><ol>{children.map((c, i) => <li key={i}>{c}</li>)}</ol></nav>;
}
