// One stateful stand-in for Reeve's HTTP API: `npm run mock`, then open the printed address.
// It serves console/dist under the same content security policy as the real server.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { routes } from './routes.mjs';

const DIST = fileURLToPath(new URL('../dist', import.meta.url));
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.json': 'application/json', '.map': 'application/json', '.wasm': 'application/wasm' };
const HEADERS = {
  'content-security-policy': "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
};
const PORT = Number(process.env.PORT ?? 4600);

const session = { user: null, csrf: null };

function send(res, status, body, headers = {}) {
  if (Buffer.isBuffer(body)) {
    res.writeHead(status, { ...HEADERS, 'content-type': 'application/octet-stream', ...headers });
    return res.end(body);
  }
  const json = typeof body !== 'string';
  res.writeHead(status, { ...HEADERS, 'content-type': json ? 'application/json' : 'text/plain; charset=utf-8', ...headers });
  return res.end(json ? JSON.stringify(body) : body);
}

const fail = (res, status, code, message) => send(res, status, { error: { code, message, request_id: `req-${Date.now().toString(36)}` } });

async function bodyOf(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return chunks.length ? JSON.parse(Buffer.concat(chunks).toString()) : {};
}

function signIn(req, res, body) {
  if (body.user !== 'analyst' || body.password !== 'reeve-demo') return fail(res, 401, 'sign_in_failed', 'the name or the password is not right');
  session.user = { name: 'analyst', roles: ['analyst'] };
  session.csrf = Math.random().toString(36).slice(2);
  return send(res, 200, { user: session.user, csrf_token: session.csrf }, { 'set-cookie': 'reeve_session=demo; HttpOnly; SameSite=Strict; Path=/' });
}

async function api(req, res, url) {
  const path = url.pathname.slice('/api/v1'.length);
  const body = req.method === 'GET' ? {} : await bodyOf(req);
  if (path === '/session' && req.method === 'POST') return signIn(req, res, body);
  if (!session.user || !/reeve_session=demo/.test(req.headers.cookie ?? '')) return fail(res, 401, 'not_signed_in', 'sign in first');
  if (path === '/session' && req.method === 'GET') return send(res, 200, { user: session.user, csrf_token: session.csrf });
  if (req.method !== 'GET' && req.headers['x-csrf-token'] !== session.csrf) return fail(res, 403, 'csrf', 'the request lacks its token; reload the page');
  if (path === '/session' && req.method === 'DELETE') { session.user = null; return send(res, 204, ''); }
  for (const [method, pattern, handler] of routes) {
    const match = pattern.exec(path);
    if (match && method === req.method) return handler({ req, res, params: match.slice(1).map(decodeURIComponent), query: url.searchParams, body, user: session.user, send, fail });
  }
  return fail(res, 404, 'not_found', `there is nothing at \`${path}\``);
}

async function asset(res, pathname) {
  const file = normalize(join(DIST, pathname));
  const inside = file.startsWith(DIST) && extname(file) !== '';
  try {
    const bytes = await readFile(inside ? file : join(DIST, 'index.html'));
    res.writeHead(200, { ...HEADERS, 'content-type': TYPES[inside ? extname(file) : '.html'] ?? 'application/octet-stream' });
    res.end(bytes);
  } catch {
    fail(res, 404, 'not_found', inside ? `no file \`${pathname}\`` : 'the console is not built; run `npm run build`');
  }
}

createServer((req, res) => {
  const url = new URL(req.url, 'http://localhost');
  const work = url.pathname.startsWith('/api/v1') ? api(req, res, url) : asset(res, url.pathname);
  work.catch((error) => fail(res, 500, 'internal', String(error.message)));
}).listen(PORT, '127.0.0.1', () => console.log(`console on http://127.0.0.1:${PORT} (analyst / reeve-demo)`));
