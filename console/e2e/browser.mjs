// What every end-to-end test needs: a browser, a signed-in page, an axe check, and a list of complaints.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const account = { user: process.env.REEVE_USER ?? 'analyst', password: process.env.REEVE_PASSWORD ?? 'reeve-demo' };

/** The server under test: the one at BASE_URL, or the stand-in on a port of its own. */
export async function server() {
  if (process.env.BASE_URL) return { url: process.env.BASE_URL.replace(/\/$/, ''), standIn: false, stop: () => undefined };
  const port = 4700 + Math.floor(Math.random() * 200);
  const child = spawn(process.execPath, [fileURLToPath(new URL('../mock-api/server.mjs', import.meta.url))], { env: { ...process.env, PORT: String(port) }, stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((ready, failed) => {
    child.stdout.once('data', ready);
    child.once('exit', (code) => failed(new Error(`the stand-in server ended with ${code}`)));
  });
  return { url: `http://127.0.0.1:${port}`, standIn: true, stop: () => child.kill() };
}

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });

/** A fresh page. Whatever the browser complains about is collected; answers we provoke on purpose are not complaints. */
export async function open(browser, { theme = 'dark', width = 1280, height = 800, cookies = [] } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, acceptDownloads: true });
  await context.addCookies(cookies);
  await context.addInitScript((t) => { if (!localStorage.getItem('reeve.preferences')) localStorage.setItem('reeve.preferences', JSON.stringify({ theme: t, zone: 'utc' })); }, theme);
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.complaints = [];
  page.on('pageerror', (error) => page.complaints.push(`page error: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error' && !/Failed to load resource: the server responded with a status of 4/.test(message.text())) page.complaints.push(`console: ${message.text()}`);
  });
  return page;
}

/** Opens the console with the session that the page has. */
export async function enter(page, url) {
  await page.goto(url);
  await page.getByRole('navigation', { name: 'Main' }).waitFor();
}

export async function signIn(page, url, path = '/') {
  await page.goto(url + path);
  await page.getByLabel('Name').fill(account.user);
  await page.getByLabel('Password').fill(account.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('navigation', { name: 'Main' }).waitFor();
}

export const rows = (page) => page.locator('[role="row"][aria-rowindex]:not([aria-rowindex="1"])');

/** Violations of WCAG 2.2 A and AA that axe can see, as readable lines. */
export async function axe(page) {
  await page.evaluate(AXE);
  const result = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }));
  return result.violations.map((v) => `${v.id}: ${v.help} (${v.nodes.length}×, ${v.nodes[0].target.join(' ')}; ${v.nodes[0].any[0]?.message ?? ''})`);
}
