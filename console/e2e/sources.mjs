import assert from 'node:assert/strict';
import { look } from './looks.mjs';

const ACCESS = (n) => `203.0.113.${n % 250} - - [21/Nov/2026:10:${String(n % 60).padStart(2, '0')}:00 +0000] "GET /catalogue/${n} HTTP/1.1" 200 512 "-" "Mozilla/5.0"`;
const SAMPLE = [...Array.from({ length: 240 }, (_, n) => ACCESS(n)), ...Array.from({ length: 6 }, (_, n) => `gadget ${n} says nothing that is known`)].join('\n');

async function openSources(page, url) {
  await page.goto(`${url}/sources`);
  await page.getByRole('heading', { name: 'Sources', exact: true }).waitFor();
}

/** Registers a source on the page; gives what is to be pasted. */
async function add(page, { name, way, label, addresses }) {
  await page.getByRole('button', { name: 'Add a source' }).first().click();
  const dialog = page.getByRole('dialog', { name: 'Add a source' });
  await dialog.getByLabel('Name').fill(name);
  await dialog.getByLabel('Sends with').selectOption(way);
  if (label) await dialog.getByLabel(/^Policy label/).fill(label);
  if (addresses) await dialog.getByLabel(/^Addresses/).fill(addresses);
  await dialog.getByRole('button', { name: 'Register' }).click();
  return dialog.getByLabel('What to paste').innerText();
}

/** Does what the pasted line does. */
async function paste(setup, body) {
  const [, token, address] = /Bearer (\S+)' (\S+)/.exec(setup) ?? [];
  assert.ok(token && address, `nothing to paste in: ${setup}`);
  return fetch(address, { method: 'POST', body, headers: { authorization: `Bearer ${token}` } });
}

async function make(page, url) {
  await openSources(page, url);
  if ((await page.getByRole('link', { name: 'shop', exact: true }).count()) > 0) return;
  const setup = await add(page, { name: 'shop', way: 'curl', label: 'servers' });
  assert.equal((await paste(setup, SAMPLE)).status, 200);
  await page.getByText('It has come.').waitFor();
  await page.getByRole('button', { name: 'Close' }).click();
  await add(page, { name: 'edge', way: 'rsyslog', addresses: '192.0.2.0/24' });
  await page.getByRole('button', { name: 'Close' }).click();
  await page.getByRole('link', { name: 'edge', exact: true }).waitFor();
}

/** The sources that the pages are looked at with, once. */
let made;

/** The list of sources with something in it. */
export async function toSources(page, url) {
  made ??= make(page, url);
  await made;
  await openSources(page, url);
  await page.getByRole('link', { name: 'shop', exact: true }).waitFor();
  return true;
}

/** The page of a source whose events were read. */
export async function toSource(page, url) {
  await toSources(page, url);
  await page.getByRole('link', { name: 'shop', exact: true }).click();
  await page.getByRole('cell', { name: 'web.access' }).waitFor();
  return true;
}

export const tests = [
  ['a source is registered, sends what was pasted, and its event is found', async (page, { url, standIn }) => {
    await openSources(page, url);
    const name = `first-${Date.now().toString(36)}`;
    const setup = await add(page, { name, way: 'curl' });
    assert.match(setup, /rvs_[\w-]{43}/);
    if (!standIn) assert.equal((await paste(setup, `hello from ${name}`)).status, 200);
    await page.getByText('It has come.').waitFor();
    if (!standIn) {
      await page.getByRole('link', { name: 'Search its events' }).click();
      await page.getByText(`hello from ${name}`).first().waitFor();
      // Another under the same name is refused in words.
      await openSources(page, url);
      await page.getByRole('button', { name: 'Add a source' }).first().click();
      await page.getByRole('dialog').getByLabel('Name').fill(name);
      await page.getByRole('button', { name: 'Register' }).click();
      await page.getByRole('alert').filter({ hasText: 'names are not used again' }).waitFor();
    }
  }],

  ['a source is disabled with a reason and enabled again', async (page, { url, standIn }) => {
    await openSources(page, url);
    const name = `off-${Date.now().toString(36)}`;
    const setup = await add(page, { name, way: 'curl' });
    await page.getByRole('button', { name: 'Close' }).click();
    await page.getByRole('link', { name, exact: true }).click();
    const form = page.getByRole('form', { name: 'Change the source' });
    await form.getByLabel(/^Reason/).fill('tried in a test');
    await form.getByRole('button', { name: 'Disable' }).click();
    await page.getByText('tried in a test').waitFor();
    if (!standIn) assert.equal((await paste(setup, 'nobody keeps this')).status, 403);
    await form.getByRole('button', { name: 'Enable' }).click();
    await form.getByRole('button', { name: 'Disable' }).waitFor();
    if (!standIn) assert.equal((await paste(setup, 'this is kept')).status, 200);
  }],

  ['what no decoder recognised is one click from its source', async (page, { url, standIn }) => {
    await toSource(page, url);
    const row = page.getByRole('row').filter({ hasText: 'not recognised' });
    await row.getByRole('link', { name: 'Search' }).click();
    await page.waitForURL(/decoder%3Atext/);
    if (!standIn) await page.getByText('says nothing that is known').first().waitFor();
  }],

  ...[['dark', 1280], ['light', 1280], ['dark', 1920]].flatMap(([theme, width]) => [look('sources', theme, width, toSources, true), look('source', theme, width, toSource, true)]),
];
