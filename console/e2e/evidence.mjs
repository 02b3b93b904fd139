// The badge: what the server sends is checked in the browser, and whatever does not fit fails.
import assert from 'node:assert/strict';
import { rows } from './browser.mjs';

const PLACE = 'reeve.log-key';
const WITHOUT = /built without the verifier/;

/** Opens the badge of a row and waits for its verdict. Not of the newest: that one may still wait for its seal. */
export async function openBadge(page) {
  await rows(page).nth(1).waitFor();
  const row = rows(page).nth(Math.min(14, (await rows(page).count()) - 1));
  await row.locator('.evidence-button').click();
  const panel = page.getByRole('dialog', { name: /^Evidence of record/ }).filter({ hasText: 'Verify again' });
  await verdict(panel);
  return panel;
}

const verdict = (panel) => panel.locator('.evidence').filter({ hasText: /Verified|Failed|Pending|Server/ }).waitFor();
const chip = (panel) => panel.locator('.evidence').innerText();
const recordOf = async (panel) => (await panel.locator('h3 .mono').innerText()).trim();
const neighbour = (record) => record.replace(/\d+$/, (index) => (Number(index) > 0 ? Number(index) - 1 : 1));
const keptKey = (page) => page.evaluate((place) => JSON.parse(localStorage.getItem(place) ?? 'null'), PLACE);
/** A true verifier key, of another log. */
const OTHER = 'reeve.example/record+be73b780+AdxG6HNZwKCOlgPDVk+OGUBTHR+77OL7YbAYmwcHRKSX';

/** A test that only a console with the verifier inside can pass. */
const withVerifier = (test) => async (page, target) => {
  const panel = await openBadge(page);
  if (WITHOUT.test(await panel.innerText())) return 'this console was built without the verifier';
  return test(page, target, panel);
};

/** The badge once more, after something was put between server and browser. */
async function again(panel) {
  await panel.getByRole('button', { name: 'Verify again' }).click();
  await panel.getByText('Checking the bytes in this browser').waitFor({ state: 'detached' });
  await verdict(panel);
}

async function failsWith(panel, reason) {
  await again(panel);
  assert.equal(await chip(panel), 'Failed');
  assert.match(await panel.getByRole('alert').first().innerText(), reason);
  assert.match(await panel.innerText(), /Checked in this browser/);
}

export const tests = [
  ['the badge checks in this browser, and keeps the key of the log', async (page, { url }) => {
    const fetched = [];
    page.on('request', (request) => { if (request.url().endsWith('.wasm')) fetched.push(request.url()); });
    await rows(page).nth(1).waitFor();
    assert.deepEqual(fetched, [], 'the verifier is fetched before anybody asked for it');
    const panel = await openBadge(page);
    const text = await panel.innerText();
    if (WITHOUT.test(text)) return 'this console was built without the verifier';
    assert.equal(await chip(panel), 'Verified', text);
    assert.match(text, /Checked in this browser/);
    assert.match(text, /first use in this browser, kept from now on/);
    for (const step of ['bytes match the leaf', 'leaf is in its batch', 'batch is in the main log', 'checkpoint is signed']) assert.ok(text.includes(step), step);
    const key = (await (await page.request.get(`${url}/api/v1/log/key`)).text()).trim();
    assert.deepEqual({ ...(await keptKey(page)), since: '' }, { key, since: '', from: 'server' });
    await again(panel);
    assert.match(await panel.innerText(), /by the key kept in this browser/);
    assert.equal(fetched.length, 1, 'the verifier is fetched once');
    return undefined;
  }],

  ['proof and bytes can be taken along', async (page, { url }) => {
    const panel = await openBadge(page);
    const record = await recordOf(panel);
    if ((await chip(panel)) === 'Pending') return 'no record is sealed yet';
    for (const [name, file, kind] of [['Download .tlog-proof', `${record}.tlog-proof`, /^text\/plain/], ['Bytes', `${record}.raw`, /^application\/octet-stream$/]]) {
      const link = panel.getByRole('link', { name });
      assert.equal(await link.getAttribute('download'), file);
      const answer = await page.request.get(url + (await link.getAttribute('href')));
      assert.ok(answer.ok(), `${file} answers ${answer.status()}`);
      assert.match(answer.headers()['content-type'], kind);
    }
    return undefined;
  }],

  ['one changed bit fails', withVerifier(async (page, _, panel) => {
    await page.route('**/raw', async (route) => {
      const answer = await route.fetch();
      const body = await answer.body();
      body[body.length >> 1] ^= 1;
      await route.fulfill({ response: answer, body });
    });
    await failsWith(panel, /the bytes are not those of record/);
    await page.unroute('**/raw');
    await again(panel);
    assert.equal(await chip(panel), 'Verified');
  })],

  ['proof and bytes of another record fail', withVerifier(async (page, _, panel) => {
    const record = await recordOf(panel);
    for (const part of ['proof', 'raw']) {
      await page.route(`**/records/${record}/${part}`, async (route) => route.fulfill({ response: await route.fetch({ url: route.request().url().replace(record, neighbour(record)) }) }));
      await failsWith(panel, part === 'proof' ? /the bytes are not those of record/ : new RegExp(`those of record ${neighbour(record)}, not of this one`));
    }
  })],

  ['a server with another key fails until a person takes it', withVerifier(async (page, _, panel) => {
    await page.evaluate(([place, key]) => localStorage.setItem(place, JSON.stringify({ key, since: '2026-11-01T00:00:00Z', from: 'server' })), [PLACE, OTHER]);
    await page.reload();
    const badge = await openBadge(page);
    assert.equal(await chip(badge), 'Failed');
    const alerts = (await badge.getByRole('alert').allInnerTexts()).join(' ');
    assert.match(alerts, /the log is signed with another key \([0-9a-f]{8}\) than the one kept in this browser \(be73b780\)/);
    assert.match(alerts, /The server names another key/);
    await badge.locator('.log-key summary').click();
    await badge.getByRole('button', { name: 'Forget the key' }).click();
    await badge.locator('.evidence.verified').waitFor();
    assert.notEqual((await keptKey(page)).key, OTHER);
    return void panel;
  })],

  ['a key kept elsewhere can be given', withVerifier(async (page, { url }, panel) => {
    const key = (await (await page.request.get(`${url}/api/v1/log/key`)).text()).trim();
    await panel.locator('.log-key summary').click();
    const field = panel.getByLabel('A key kept elsewhere');
    await field.fill(key.replace(/.{4}$/, 'AAA='));
    await panel.getByRole('button', { name: 'Trust this key' }).click();
    await panel.getByText(/^This is no key: /).waitFor();
    await field.fill(` ${key}\n`);
    await panel.getByRole('button', { name: 'Trust this key' }).click();
    await panel.getByText('given by hand').first().waitFor();
    await panel.locator('.evidence.verified').waitFor();
    await field.fill(OTHER);
    await panel.getByRole('button', { name: 'Trust this key' }).click();
    await panel.locator('.evidence.failed').waitFor();
    assert.equal((await keptKey(page)).from, 'person');
  })],

  ['without WebAssembly the badge shows the word of the server as such', async (page) => {
    await page.addInitScript(() => { delete globalThis.WebAssembly; });
    await page.reload();
    const panel = await openBadge(page);
    const text = await panel.innerText();
    assert.match(text, /This browser could not check it: /);
    assert.match(text, /Checked by the server, by its own word/);
    assert.notEqual(await chip(panel), 'Verified');
    assert.equal(await keptKey(page), null);
  }],
];
