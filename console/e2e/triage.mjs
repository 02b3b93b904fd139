import assert from 'node:assert/strict';
import { rows } from './browser.mjs';

async function firstAlert(page, url) {
  await page.goto(`${url}/alerts`);
  await page.getByRole('heading', { name: 'Alerts' }).waitFor();
  await Promise.race([rows(page).first().waitFor(), page.getByText('The queue is empty').waitFor()]);
  if ((await rows(page).count()) === 0) return false;
  await rows(page).first().click();
  await page.getByRole('heading', { name: 'Why it fired' }).waitFor();
  return true;
}

async function handle(page, status, reason) {
  const form = page.getByRole('form', { name: 'Change the alert' });
  await form.getByLabel('Status').selectOption(status);
  await form.getByLabel('Reason').fill(reason);
  await form.getByRole('button', { name: 'Save' }).click();
}

/** The incident's address, once: the first test that wants one reconstructs it. */
let incident;

async function reconstruct(page, url) {
  if (!(await firstAlert(page, url))) return undefined;
  await page.getByRole('button', { name: 'Reconstruct incident' }).click();
  await page.waitForURL(/\/incidents\/./, { timeout: 60_000 });
  return page.url();
}

/** From the first alert to its incident; false when there is nothing to start from. */
export async function toIncident(page, url) {
  incident ??= reconstruct(page, url);
  const address = await incident;
  if (!address) return false;
  if (page.url() !== address) await page.goto(address);
  await page.locator('li.step').first().waitFor();
  return true;
}

export const tests = [
  ['the queue filters by status, severity and text', async (page, { url }) => {
    await page.goto(`${url}/alerts`);
    await page.getByRole('heading', { name: 'Alerts' }).waitFor();
    await page.getByRole('button', { name: 'New', exact: true }).click();
    await page.waitForURL(/status=new/);
    await page.getByRole('button', { name: 'High +' }).click();
    await page.waitForURL(/severity=4/);
    await page.getByRole('searchbox', { name: 'Text in alerts' }).fill('nothing is called this');
    await page.keyboard.press('Enter');
    await page.getByText('No alert fits these filters').waitFor();
    await page.getByRole('button', { name: 'Show all alerts' }).click();
    await page.waitForFunction(() => location.search === '');
  }],

  ['an alert explains itself', async (page, { url }) => {
    if (!(await firstAlert(page, url))) return 'the queue is empty';
    await page.getByLabel('Rule text').waitFor();
    assert.match(await page.getByLabel('Rule text').innerText(), /detection:|correlation:/);
    assert.ok((await page.locator('.records .evidence-button').count()) > 0, 'no cited record carries a badge');
    return undefined;
  }],

  ['a change needs a reason and shows in the history', async (page, { url }) => {
    if (!(await firstAlert(page, url))) return 'the queue is empty';
    const was = await page.getByLabel('Status', { exact: true }).inputValue();
    const other = was === 'in_progress' ? 'new' : 'in_progress';
    await handle(page, other, '');
    await page.getByText('Say why; the reason is kept in the audit ledger.').waitFor();
    await handle(page, other, 'looked at in a test');
    await page.locator('.history li').filter({ hasText: 'looked at in a test' }).first().waitFor();
    await page.waitForFunction((s) => document.querySelector('#alert-status')?.value === s, other);
    await handle(page, was, 'put back after the test');
    await page.locator('.history li').filter({ hasText: 'put back after the test' }).first().waitFor();
    return undefined;
  }],

  ['an incident shows steps, timeline, tree and story, each step with its records', async (page, { url }) => {
    if (!(await toIncident(page, url))) return 'the queue is empty';
    const steps = await page.locator('li.step').count();
    assert.ok(steps > 0);
    assert.equal(await page.locator('.timeline .mark').count(), steps);
    for (let i = 0; i < steps; i++) assert.ok((await page.locator('li.step').nth(i).locator('.records a').count()) > 0, `step ${i + 1} cites no record`);
    await page.locator('.timeline .mark').last().focus();
    await page.keyboard.press('Enter');
    assert.equal(await page.locator('li.step[aria-current="step"]').count(), 1);
    await page.getByRole('tab', { name: 'Story' }).click();
    assert.ok((await page.locator('.story').innerText()).length > 40);
    return undefined;
  }],

  ['the timeline zooms by dragging and back', async (page, { url }) => {
    if (!(await toIncident(page, url))) return 'the queue is empty';
    const svg = page.locator('.timeline svg');
    await svg.scrollIntoViewIfNeeded();
    const box = await svg.boundingBox();
    await page.mouse.move(box.x + 140, box.y + 30);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width / 2, box.y + 60, { steps: 6 });
    await page.mouse.up();
    await page.getByRole('button', { name: 'Show all' }).click();
    await page.getByRole('button', { name: 'Show all' }).waitFor({ state: 'detached' });
    return undefined;
  }],

  ['the process tree is walked with the arrow keys', async (page, { url }) => {
    if (!(await toIncident(page, url))) return 'the queue is empty';
    const items = page.getByRole('treeitem');
    if ((await items.count()) < 2) return 'the incident starts no processes';
    await page.locator('[role="treeitem"][tabindex="0"]').focus();
    await page.keyboard.press('Home');
    const all = await items.count();
    await page.keyboard.press('ArrowLeft');
    await page.waitForFunction((n) => document.querySelectorAll('[role="treeitem"]').length <= n, all);
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowDown');
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('aria-selected')), 'true');
    return undefined;
  }],

  ['a record page verifies and leads to the raw bytes', async (page) => {
    await rows(page).first().waitFor();
    await rows(page).first().click();
    await page.getByRole('link', { name: /^Open record/ }).click();
    await page.getByRole('heading', { name: 'Receipt' }).waitFor();
    await page.getByRole('button', { name: 'Verify now' }).click();
    await page.locator('.verify-steps li').first().waitFor();
    await page.getByText(/^Checked in this browser|^Nothing to check yet|^Checked by the server/).waitFor();
    await page.getByRole('tab', { name: 'Raw bytes' }).click();
    await page.getByLabel('Raw bytes in hexadecimal').waitFor();
  }],
];
