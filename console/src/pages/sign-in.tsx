import { useState, type FormEvent } from 'react';
import { getRouteApi, useRouter } from '@tanstack/react-router';
import { useQueryClient } from '@tanstack/react-query';
import { ApiError, apiUrl, change, setCsrfToken } from '../api/client';
import { sessionQuery } from '../api/queries';
import type { Session } from '../api/types';

const route = getRouteApi('/sign-in');

/** Only addresses of this console: a `then` that leads elsewhere is ignored. */
const safe = (then: string | undefined) => (then && /^\/(?![/\\])/.test(then) ? then : '/search');

export function SignInPage() {
  const { then } = route.useSearch();
  const router = useRouter();
  const queryClient = useQueryClient();
  const [error, setError] = useState<string>();
  const [busy, setBusy] = useState(false);

  async function onSubmit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setBusy(true);
    setError(undefined);
    try {
      const session = await change<Session>('POST', apiUrl('/session'), { user: form.get('user'), password: form.get('password') });
      setCsrfToken(session.csrf_token);
      queryClient.setQueryData(sessionQuery().queryKey, session);
      await router.navigate({ href: safe(then) });
    } catch (cause) {
      setError(cause instanceof ApiError && cause.status === 401 ? 'The name or the password is not right.' : cause instanceof Error ? cause.message : String(cause));
    } finally {
      setBusy(false);
    }
  }

  return (
    <main className="sign-in">
      <form className="panel" onSubmit={(e) => void onSubmit(e)} aria-label="Sign in">
        <div className="line"><img src="/reeve.svg" width={28} height={28} alt="" /><h1>Sign in to Reeve</h1></div>
        <div className="field">
          <label htmlFor="user">Name</label>
          <input id="user" name="user" className="input" autoComplete="username" autoFocus required />
        </div>
        <div className="field">
          <label htmlFor="password">Password</label>
          <input id="password" name="password" type="password" className="input" autoComplete="current-password" required aria-invalid={error !== undefined} aria-describedby="sign-in-error" />
          <span id="sign-in-error" className="error" role="alert">{error}</span>
        </div>
        <button className="button primary" disabled={busy}>{busy ? 'Signing in…' : 'Sign in'}</button>
        <p className="muted">The first account was printed by <code>reeve serve</code> when it first started. Sign-ins and reads are recorded in the audit ledger.</p>
      </form>
    </main>
  );
}
