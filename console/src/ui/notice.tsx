// What a page says when there is nothing to show: what happened and what to do next.
import type { ReactNode } from 'react';
import { Link, useRouter } from '@tanstack/react-router';
import { ApiError } from '../api/client';
import { paths } from '../util/paths';
import { Icon } from './icons';

export function Empty({ title, children, action }: { title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <div className="notice">
      <Icon name="empty" size={28} />
      <h2>{title}</h2>
      {children ? <p>{children}</p> : null}
      {action ? <div className="line">{action}</div> : null}
    </div>
  );
}

export function Failure({ error, retry }: { error: unknown; retry?: (() => void) | undefined }) {
  const missing = error instanceof ApiError && error.status === 404;
  return (
    <div className="notice error" role="alert">
      <Icon name="warning" size={28} />
      <h2>{missing ? 'Not found' : 'This could not be read'}</h2>
      <p>{error instanceof Error ? error.message : String(error)}</p>
      {error instanceof ApiError && error.requestId ? <p className="mono">request {error.requestId}</p> : null}
      {retry && !missing ? <button type="button" className="button" onClick={retry}>Try again</button> : null}
    </div>
  );
}

export function Loading({ what = 'Loading' }: { what?: string }) {
  return <div className="notice" role="status"><p>{what}…</p></div>;
}

export const PageLoading = () => <Loading />;

export function PageError({ error }: { error: unknown }) {
  const router = useRouter();
  return <Failure error={error} retry={() => void router.invalidate()} />;
}

export function PageMissing() {
  return <Empty title="There is no such page" action={<Link {...paths.search()} className="button">Go to search</Link>}>The address may be mistyped, or it comes from another version of Reeve.</Empty>;
}
