// Runs every test of this folder: `npm run e2e`. Against a real server: BASE_URL, REEVE_USER, REEVE_PASSWORD.
// Name a part of a test's title to run only those.
import { launch, open, server, signIn } from './browser.mjs';
import { tests as search } from './search.mjs';
import { tests as evidence } from './evidence.mjs';
import { tests as triage } from './triage.mjs';
import { tests as shell } from './shell.mjs';
import { tests as looks } from './looks.mjs';

const wanted = process.argv[2] ?? '';
const target = await server();
const browser = await launch();
let failed = 0;
let ran = 0;
for (const [title, test, options = {}] of [...shell, ...search, ...evidence, ...triage, ...looks]) {
  if (!title.includes(wanted)) continue;
  const page = await open(browser, options);
  const started = Date.now();
  ran += 1;
  try {
    if (!options.signedOut) await signIn(page, target.url, options.path);
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
await browser.close();
target.stop();
console.log(`${ran - failed} of ${ran} passed`);
process.exit(failed > 0 ? 1 : 0);
