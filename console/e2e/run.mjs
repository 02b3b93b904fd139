// Runs every test of this folder: `npm run e2e`. Against a real server: BASE_URL, REEVE_USER, REEVE_PASSWORD.
// Name a part of a test's title to run only those.
import { enter, launch, open, server, signIn } from './browser.mjs';
import { tests as search } from './search.mjs';
import { tests as evidence } from './evidence.mjs';
import { tests as triage } from './triage.mjs';
import { tests as sources } from './sources.mjs';
import { tests as shell } from './shell.mjs';
import { tests as looks } from './looks.mjs';

/** Tests at a time: a page often waits, for the server or for what a person would look at. */
const LANES = 2;

const wanted = process.argv[2] ?? '';
const target = await server();
const browser = await launch();
let failed = 0;
// One sign-in for most tests; those about signing in and out have their own.
const first = await open(browser);
await signIn(first, target.url);
const session = await first.context().cookies();
await first.context().close();

async function run([title, test, options = {}]) {
  const own = options.signedOut || options.ownSession;
  const page = await open(browser, { ...options, cookies: own ? [] : session });
  const started = Date.now();
  try {
    if (options.ownSession) await signIn(page, target.url);
    else if (!options.signedOut) await enter(page, target.url);
    const skipped = await test(page, target);
    if (page.complaints.length > 0) throw new Error(page.complaints.join('\n'));
    console.log(`${skipped ? 'skip' : 'ok  '} ${title} (${Date.now() - started} ms)${skipped ? `: ${skipped}` : ''}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${title}\n     ${String(error.message ?? error).replaceAll('\n', '\n     ')}\n     at ${page.url()}`);
    if (process.env.E2E_KEEP) await page.screenshot({ path: `${process.env.E2E_KEEP}/${title.replace(/\W+/g, '-')}.png` });
  }
  await page.context().close();
}

// Those of the sources come last: what they send would be among the rows that others look at.
const waiting = [...shell, ...search, ...evidence, ...triage, ...looks, ...sources].filter(([title]) => title.includes(wanted));
const ran = waiting.length;
const lane = async () => {
  for (let next = waiting.shift(); next; next = waiting.shift()) await run(next);
};
await Promise.all(Array.from({ length: LANES }, lane));
await browser.close();
target.stop();
console.log(`${ran - failed} of ${ran} passed`);
process.exit(failed > 0 ? 1 : 0);
