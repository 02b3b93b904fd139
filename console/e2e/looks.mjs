// Accessibility of every page in both themes, and the pictures of the documentation.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { axe, rows } from './browser.mjs';
import { openBadge } from './evidence.mjs';
import { toIncident } from './triage.mjs';

const IMAGES = process.env.E2E_IMAGES ?? fileURLToPath(new URL('../../docs/images', import.meta.url));

const PAGES = {
  search: async (page) => {
    await rows(page).nth(1).waitFor();
    await page.locator('.cost').getByRole('button', { name: 'Cancel' }).waitFor({ state: 'detached' });
    await page.locator('.field-name').first().waitFor();
    await rows(page).nth(1).click();
    await page.getByRole('tabpanel').waitFor();
    return true;
  },
  alerts: async (page, url) => {
    await page.goto(`${url}/alerts`);
    await page.getByRole('heading', { name: 'Alerts' }).waitFor();
    await Promise.race([rows(page).first().waitFor(), page.getByText('The queue is empty').waitFor()]);
    return true;
  },
  alert: async (page, url) => {
    await PAGES.alerts(page, url);
    if ((await rows(page).count()) === 0) return false;
    await rows(page).first().click();
    await page.getByText('as received').waitFor();
    return true;
  },
  incident: toIncident,
  record: async (page) => {
    await rows(page).first().waitFor();
    // Not the newest: that one may still wait for its seal.
    await rows(page).nth(Math.min(14, (await rows(page).count()) - 1)).click();
    await page.getByRole('link', { name: /^Open record/ }).click();
    await page.getByRole('button', { name: 'Verify now' }).click();
    await page.locator('.verify-steps li').first().waitFor();
    return true;
  },
  badge: async (page) => {
    const panel = await openBadge(page);
    await panel.locator('.log-key summary').click();
    await panel.getByRole('button', { name: 'Trust this key' }).waitFor();
    return true;
  },
  status: async (page, url) => {
    await page.goto(`${url}/status`);
    await page.getByRole('heading', { name: 'Lake' }).waitFor();
    return true;
  },
  palette: async (page) => {
    await rows(page).first().waitFor();
    await page.keyboard.press('Control+k');
    await page.getByRole('option').first().waitFor();
    return true;
  },
};

const PICTURED = ['search', 'alerts', 'incident', 'record'];

/** Nothing may stick out sideways at the smallest width we promise. */
const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

export function look(name, theme, width, show = PAGES[name], pictured = PICTURED.includes(name)) {
  return [`${name} is accessible and whole, ${theme}, ${width} px`, async (page, { url }) => {
    if (!(await show(page, url))) return 'nothing to show';
    // Badges and charts arrive a moment after their page.
    await page.waitForTimeout(700);
    assert.equal(await overflow(page), 0, 'the page scrolls sideways');
    assert.deepEqual(await axe(page), []);
    if (pictured && width === 1280) {
      mkdirSync(IMAGES, { recursive: true });
      await page.mouse.move(0, 0);
      await page.screenshot({ path: `${IMAGES}/${name}-${theme}.png` });
    }
    return undefined;
  }, { theme, width, height: width > 1280 ? 1080 : 800 }];
}

export const tests = [
  ...['dark', 'light'].flatMap((theme) => Object.keys(PAGES).map((name) => look(name, theme, 1280))),
  ...PICTURED.map((name) => look(name, 'dark', 1920)),
  ...['dark', 'light'].map((theme) => [`sign-in is accessible, ${theme}`, async (page, { url }) => {
    await page.goto(url);
    await page.getByLabel('Password').waitFor();
    assert.deepEqual(await axe(page), []);
  }, { theme, signedOut: true }]),
];
