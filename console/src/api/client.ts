// One way to ask the server: cookies carry the session, changes carry the CSRF token, errors become `ApiError`.
import type { ApiErrorBody } from './types';

export class ApiError extends Error {
  readonly code: string;
  readonly status: number;
  readonly requestId: string | undefined;
  /** Where in the query the error lies, in characters from 0. */
  readonly offset: number | undefined;
  constructor(status: number, body: ApiErrorBody) {
    super(body.message);
    this.status = status;
    this.code = body.code;
    this.requestId = body.request_id;
    this.offset = body.offset ?? undefined;
  }
}

const BASE = '/api/v1';
let csrfToken = '';
let onSignedOut: () => void = () => undefined;

export function setCsrfToken(token: string) {
  csrfToken = token;
}

/** Called once when any request answers that nobody is signed in any more. */
export function whenSignedOut(handler: () => void) {
  onSignedOut = handler;
}

export function apiUrl(path: string, query: Record<string, string | number | undefined> = {}): string {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined && value !== '') params.set(key, String(value));
  const text = params.toString();
  return `${BASE}${path}${text ? `?${text}` : ''}`;
}

async function errorOf(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => null)) as { error?: ApiErrorBody } | null;
  return new ApiError(response.status, body?.error ?? { code: `http_${response.status}`, message: `the server answered ${response.status} ${response.statusText}` });
}

export async function send(method: string, url: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (method !== 'GET') headers['x-csrf-token'] = csrfToken;
  const response = await fetch(url, { method, headers, body: body === undefined ? null : JSON.stringify(body), signal: signal ?? null, credentials: 'same-origin' }).catch((cause: unknown) => {
    if (cause instanceof DOMException && cause.name === 'AbortError') throw cause;
    throw new ApiError(0, { code: 'unreachable', message: 'the server does not answer; check that `reeve serve` is running, then try again' });
  });
  if (response.ok) return response;
  const error = await errorOf(response);
  if (response.status === 401 && !url.endsWith('/session')) onSignedOut();
  throw error;
}

export async function get<T>(url: string, signal?: AbortSignal): Promise<T> {
  return (await send('GET', url, undefined, signal)).json() as Promise<T>;
}

export async function change<T>(method: 'POST' | 'PATCH', url: string, body: unknown): Promise<T> {
  return (await send(method, url, body)).json() as Promise<T>;
}
