// Fails the build when what the browser needs before the first page shows is heavier than the budget.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const BUDGET = 250 * 1024;
const dist = new URL('../dist/', import.meta.url);
const manifest = JSON.parse(readFileSync(new URL('.vite/manifest.json', dist)));
// The heaviest start is a link straight to the search page: the entry and that page's own chunk.
const wanted = new Set(['index.html']);
const search = Object.keys(manifest).find((key) => key.endsWith('pages/search.tsx'));
if (search) wanted.add(search);
for (const key of wanted) for (const next of manifest[key].imports ?? []) wanted.add(next);

const files = new Set(['index.html']);
for (const key of wanted) {
  files.add(manifest[key].file);
  for (const sheet of manifest[key].css ?? []) files.add(sheet);
}
const weigh = (file) => gzipSync(readFileSync(new URL(file, dist)), { level: 9 }).length;
const sizes = [...files].map((file) => [file, weigh(file)]);
const total = sizes.reduce((sum, [, size]) => sum + size, 0);
for (const [file, size] of sizes.sort((a, b) => b[1] - a[1])) console.log(`${(size / 1024).toFixed(1).padStart(7)} KB  ${file}`);
console.log(`${(total / 1024).toFixed(1).padStart(7)} KB  first paint, gzip (budget ${BUDGET / 1024} KB)`);
const verifier = Object.values(manifest).find((entry) => entry.file.endsWith('.wasm'))?.file;
console.log(verifier ? `${(weigh(verifier) / 1024).toFixed(1).padStart(7)} KB  ${verifier}, when the first record is checked` : '         no verifier: badges of this build show the word of the server (cargo xtask console builds it)');
if (total > BUDGET) process.exit(1);
