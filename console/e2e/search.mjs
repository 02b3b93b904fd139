import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { rows } from './browser.mjs';

const param = (page, name) => new URL(page.url()).searchParams.get(name);
const settled = async (page) => {
  await rows(page).first().waitFor();
  await page.locator('.cost').getByRole('button', { name: 'Cancel' }).waitFor({ state: 'detached' });
};
const state = (page) => page.locator('.cost').innerText();

export const tests = [
  ['a search has absolute times in its address and says what it cost', async (page) => {
    await settled(page);
    for (const name of ['from', 'to']) assert.match(param(page, name) ?? '', /^\d{4}-\d{2}-\d{2}T[\d:.]+Z$/);
    assert.match(await state(page), /event.*scanned.*in /s);
    const address = page.url();
    await page.reload();
    await settled(page);
    assert.equal(page.url(), address);
  }],

  ['a value in the sidebar filters in, Alt filters out', async (page) => {
    await settled(page);
    const value = page.locator('.sidebar .value').first();
    await value.waitFor();
    const [name] = (await value.getAttribute('title')).split(' = ');
    await value.click();
    await page.waitForURL(/[?&]q=/);
    assert.ok(param(page, 'q').startsWith(`${name}:`));
    await settled(page);
    await page.goBack();
    await settled(page);
    await page.locator('.sidebar .value').first().click({ modifiers: ['Alt'] });
    await page.waitForURL(/[?&]q=NOT/);
  }],

  ['dragging over the histogram narrows the time', async (page) => {
    await settled(page);
    const [from, to] = [Date.parse(param(page, 'from')), Date.parse(param(page, 'to'))];
    const box = await page.locator('.histogram .u-over').boundingBox();
    await page.mouse.move(box.x + box.width * 0.3, box.y + 40);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.6, box.y + 40, { steps: 6 });
    await page.mouse.up();
    await page.waitForFunction((was) => new URL(location.href).searchParams.get('from') !== was, new Date(from).toISOString());
    const [a, b] = [Date.parse(param(page, 'from')), Date.parse(param(page, 'to'))];
    assert.ok(a > from && b < to && b > a, `${param(page, 'from')} – ${param(page, 'to')}`);
  }],

  ['a query that cannot be read is marked where it goes wrong', async (page) => {
    await settled(page);
    await page.getByRole('combobox', { name: 'Query' }).fill('ssh AND (root');
    await page.keyboard.press('Enter');
    const alert = page.locator('.query-error');
    await alert.filter({ hasText: /column \d+/ }).waitFor();
    assert.equal(await page.getByRole('combobox', { name: 'Query' }).getAttribute('aria-invalid'), 'true');
    assert.equal(await page.locator('.query-overlay u').count(), 1);
  }],

  ['field names and pipes complete', async (page) => {
    await settled(page);
    await page.locator('.field-name').first().waitFor();
    const query = page.getByRole('combobox', { name: 'Query' });
    await query.pressSequentially('device.hostn');
    await page.getByRole('option').filter({ hasText: 'device.hostname' }).waitFor();
    await page.keyboard.press('Tab');
    assert.equal(await query.inputValue(), 'device.hostname:');
    await query.fill('* ');
    await query.pressSequentially('| tim');
    await page.keyboard.press('Tab');
    assert.equal(await query.inputValue(), '* | timechart ');
  }],

  ['an event shows its four faces', async (page) => {
    await settled(page);
    await rows(page).first().click();
    for (const [tab, text] of [['OCSF', 'class_uid'], ['Native', 'Decoder'], ['Raw bytes', 'sha256']]) {
      await page.getByRole('tab', { name: tab }).click();
      await page.getByRole('tabpanel').filter({ hasText: text }).waitFor();
    }
    assert.match(await page.getByLabel('Raw bytes in hexadecimal').innerText(), /^00000000 {2}[0-9a-f]{2} /);
    await page.getByRole('tab', { name: 'Table' }).click();
    const keep = page.getByRole('button', { name: /^Keep only / }).first();
    const [, name] = /^Keep only (\S+)/.exec(await keep.getAttribute('aria-label'));
    await keep.click();
    await page.waitForURL(/[?&]q=/);
    assert.ok(param(page, 'q').includes(`${name.replace(/\[\d+\]/g, '')}`), param(page, 'q'));
  }],

  ['top and timechart give tables, timechart a plot', async (page) => {
    await settled(page);
    await page.locator('.field-open').first().getByRole('button', { name: 'top', exact: true }).click();
    await page.locator('.stats table').waitFor();
    assert.match(param(page, 'q'), /\| top 10 /);
    await page.getByRole('button', { name: 'Back to the events' }).click();
    await settled(page);
    await page.locator('.field-open').first().getByRole('button', { name: 'timechart' }).click();
    await page.locator('.stats .u-wrap').waitFor();
  }],

  ['SQL is asked and answered, and goes back to the search bar', async (page) => {
    await settled(page);
    await page.getByRole('button', { name: 'SQL', exact: true }).click();
    await page.getByRole('region', { name: 'Table of results' }).getByRole('cell').first().waitFor();
    const query = page.getByRole('combobox', { name: 'Query' });
    await query.fill('SELECT count(*) AS events FROM events');
    await query.press('Enter');
    await page.getByRole('columnheader', { name: 'events' }).waitFor();
    assert.ok(Number((await page.getByRole('cell').first().innerText()).replace(/\D/g, '')) > 0);
    await query.fill('DELETE FROM events');
    await query.press('Enter');
    await page.getByText('only SELECT is allowed').first().waitFor();
    await page.getByRole('button', { name: 'Query', exact: true }).click();
    await rows(page).first().waitFor();
    assert.equal(param(page, 'sql'), null);
  }],

  ['a whole answer is taken along as CSV and NDJSON', async (page) => {
    await settled(page);
    const total = Number((await state(page)).match(/^([\d,.\u2009\u202f ]+) event/)[1].replace(/\D/g, ''));
    for (const [button, lines] of [['CSV, these columns', total + 1], ['NDJSON, all fields', total]]) {
      await page.getByRole('button', { name: 'Download' }).click();
      const [file] = await Promise.all([page.waitForEvent('download', { timeout: 60_000 }), page.getByRole('button', { name: button }).click()]);
      const text = await readFile(await file.path(), 'utf8');
      // A cell may have lines of its own.
      assert.equal(text.split(button.startsWith('CSV') ? '\r\n' : '\n').length - 1, lines, file.suggestedFilename());
    }
  }],

  ['columns can be chosen and stay in the address', async (page) => {
    await settled(page);
    await page.getByRole('button', { name: 'Columns', exact: true }).click();
    await page.getByRole('checkbox', { name: 'source', exact: true }).check();
    await page.waitForURL(/cols=/);
    await page.getByRole('columnheader', { name: 'Source', exact: true }).waitFor();
  }],

  ['nothing found says what to do', async (page) => {
    await settled(page);
    await page.getByRole('combobox', { name: 'Query' }).fill('"no event has ever said this 4711"');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'No events match' }).waitFor();
    await page.getByRole('button', { name: 'Search all events in time' }).waitFor();
  }],

  ['more rows load on request until all are there', async (page) => {
    await settled(page);
    if (!/first [\d,]+ shown/.test(await state(page))) return 'everything fits on one page';
    const grid = page.getByRole('treegrid', { name: 'Search results' });
    const before = Number(await grid.getAttribute('aria-rowcount'));
    await page.locator('.grid').evaluate((node) => { node.scrollTop = node.scrollHeight; });
    await page.getByRole('button', { name: 'Load more' }).click();
    await page.waitForFunction((n) => Number(document.querySelector('[role="treegrid"]').getAttribute('aria-rowcount')) > n, before);
    return undefined;
  }],
];
