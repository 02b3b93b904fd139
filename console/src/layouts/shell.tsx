import { useState } from 'react';
import { Link, Outlet, useNavigate } from '@tanstack/react-router';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { sessionQuery } from '../api/queries';
import { apiUrl, send } from '../api/client';
import { Icon } from '../ui/icons';
import { Popover } from '../ui/popover';
import { Segmented } from '../ui/segmented';
import { paths } from '../util/paths';
import { setPreferences, usePreferences, type Theme } from '../util/preferences';
import { useShortcuts } from '../util/shortcuts';
import { Toasts, toast } from '../util/toast';
import { Palette } from './palette';
import { Help } from './help';

const THEMES = [['dark', 'Dark'], ['light', 'Light'], ['system', 'System']] as const;
const ZONES = [['utc', 'UTC'], ['local', 'Local']] as const;

function UserMenu() {
  const { theme } = usePreferences();
  const { data } = useQuery(sessionQuery());
  const queryClient = useQueryClient();
  const navigate = useNavigate();

  async function signOut() {
    try {
      await send('DELETE', apiUrl('/session'), {});
    } catch {
      toast('The server could not be told; the session ends by itself.', true);
    }
    queryClient.clear();
    await navigate(paths.signIn());
  }

  return (
    <Popover label="Account and theme" className="button plain small" trigger={<>{data?.user.name ?? 'Account'} <Icon name="down" size={12} /></>}>
      {() => (
        <div className="field account">
          <span className="label">Signed in as</span>
          <strong>{data?.user.name}</strong>
          <span className="muted">{data?.user.roles.join(', ')}</span>
          <span className="label">Theme</span>
          <Segmented<Theme> label="Theme" value={theme} options={THEMES} onChange={(t) => setPreferences({ theme: t })} />
          <button type="button" className="button small" onClick={() => void signOut()}>Sign out</button>
        </div>
      )}
    </Popover>
  );
}

/** The frame of every page once somebody is signed in. */
export function Shell() {
  const { zone } = usePreferences();
  const [palette, setPalette] = useState(false);
  const [help, setHelp] = useState(false);
  const navigate = useNavigate();

  useShortcuts({
    'mod+k': () => setPalette(true),
    '?': () => setHelp(true),
    '/': () => {
      const field = document.querySelector<HTMLInputElement>('[data-focus="search"]');
      if (field) field.focus();
      else void navigate(paths.search());
    },
  });

  return (
    <div className="shell">
      <a className="skip-link" href="#content">Skip to the page</a>
      <header className="topbar">
        <Link {...paths.search()} className="brand"><img src="/reeve.svg" width={22} height={22} alt="" /> Reeve</Link>
        <nav className="topnav" aria-label="Main">
          <Link to="/search" activeProps={{ 'aria-current': 'page' }}>Search</Link>
          <Link to="/alerts" activeProps={{ 'aria-current': 'page' }}>Alerts</Link>
          <Link to="/incidents" activeProps={{ 'aria-current': 'page' }}>Incidents</Link>
          <Link to="/sources" activeProps={{ 'aria-current': 'page' }}>Sources</Link>
          <Link to="/status" activeProps={{ 'aria-current': 'page' }}>Status</Link>
        </nav>
        <div className="grow" />
        <button type="button" className="button small palette-hint" onClick={() => setPalette(true)}>Go to or search <kbd>Ctrl K</kbd></button>
        <Segmented label="Time zone" value={zone} options={ZONES} onChange={(z) => setPreferences({ zone: z })} />
        <button type="button" className="button plain icon" aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)" onClick={() => setHelp(true)}>?</button>
        <UserMenu />
      </header>
      <main id="content" tabIndex={0}><Outlet /></main>
      {palette ? <Palette onClose={() => setPalette(false)} /> : null}
      {help ? <Help onClose={() => setHelp(false)} /> : null}
      <Toasts />
    </div>
  );
}
