import assert from 'node:assert/strict';
import { account, rows, signIn } from './browser.mjs';

export const tests = [
  ['a wrong password is told, the right one leads on to where one wanted to go', async (page, { url }) => {
    await page.goto(`${url}/status`);
    await page.getByLabel('Name').fill(account.user);
    await page.getByLabel('Password').fill('not the password');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('The name or the password is not right.').waitFor();
    await page.getByLabel('Password').fill(account.password);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Status' }).waitFor();
  }, { signedOut: true }],

  ['an address that leads elsewhere is not followed after sign-in', async (page, { url }) => {
    await signIn(page, url, '/sign-in?then=%2F%2Fexample.org%2F');
    assert.equal(new URL(page.url()).origin, new URL(url).origin);
  }, { signedOut: true }],

  ['signing out ends the session', async (page, { url }) => {
    await page.getByRole('banner').getByRole('button', { name: account.user }).click();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Password').waitFor();
    await page.goto(`${url}/alerts`);
    await page.getByLabel('Password').waitFor();
  }, { ownSession: true }],

  ['keyboard: palette, shortcuts, search field, rows', async (page) => {
    await rows(page).first().waitFor();
    await page.keyboard.press('Control+k');
    await page.getByRole('combobox', { name: 'Command or search' }).fill('stat');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Status' }).waitFor();
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('link', { name: 'Search', exact: true }).click();
    await rows(page).first().waitFor();
    await page.keyboard.press('/');
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('aria-label')), 'Query');
    await page.keyboard.press('Escape');
    await page.keyboard.press('j');
    await page.keyboard.press('j');
    await page.keyboard.press('k');
    await page.keyboard.press('Enter');
    assert.equal(await page.locator('[role="row"][aria-selected="true"]').getAttribute('aria-expanded'), 'true');
  }],

  ['times switch between UTC and local, the choice stays', async (page) => {
    await rows(page).first().waitFor();
    const local = page.getByRole('group', { name: 'Time zone' }).getByRole('button', { name: 'Local' });
    await local.click();
    await page.reload();
    assert.equal(await local.getAttribute('aria-pressed'), 'true');
  }],

  ['an address that does not exist says so', async (page, { url }) => {
    await page.goto(`${url}/nowhere`);
    await page.getByText('There is no such page').waitFor();
    await page.goto(`${url}/incidents/incident-that-never-was`);
    await page.getByRole('heading', { name: 'Not found' }).waitFor();
  }],

  ['the status page shows both ledgers and the lake', async (page, { url }) => {
    await page.goto(`${url}/status`);
    for (const name of ['Record ledger', 'Audit ledger', 'Lake']) await page.getByRole('heading', { name }).waitFor();
  }],
];
