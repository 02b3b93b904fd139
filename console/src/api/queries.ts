// Every read of the console as a query, so that pages share one cache and one set of keys.
import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';
import { apiUrl, change, get, send } from './client';
import type { AlertChange, AlertDetail, AlertPage, ChangedSource, Evidence, Fields, FullEvent, Histogram, Incident, IncidentList, Session, SourceChange, SourceDetail, SourceList, Status, Verification } from './types';

export interface Range { q: string; from: string; to: string }

export const sessionQuery = () => queryOptions({ queryKey: ['session'], queryFn: () => get<Session>(apiUrl('/session')), staleTime: Infinity, retry: false });

export const histogramQuery = (r: Range, buckets: number) =>
  queryOptions({ queryKey: ['histogram', r, buckets], queryFn: ({ signal }) => get<Histogram>(apiUrl('/histogram', { ...r, buckets }), signal), placeholderData: (previous) => previous });

/** The span of all events. */
export const extentQuery = () => queryOptions({ queryKey: ['extent'], queryFn: ({ signal }) => get<Histogram>(apiUrl('/histogram', { buckets: 1 }), signal), staleTime: 60_000 });

export const fieldsQuery = (r: Range, top: number) =>
  queryOptions({ queryKey: ['fields', r, top], queryFn: ({ signal }) => get<Fields>(apiUrl('/fields', { ...r, top }), signal), placeholderData: (previous) => previous });

export const eventQuery = (record: string, part: number) =>
  queryOptions({ queryKey: ['event', record, part], queryFn: ({ signal }) => get<FullEvent>(apiUrl(`/events/${record}/${part}`), signal), staleTime: Infinity });

export const evidenceQuery = (record: string) =>
  queryOptions({ queryKey: ['evidence', record], queryFn: ({ signal }) => get<Evidence>(apiUrl(`/records/${record}/evidence`), signal), staleTime: 60_000 });

/**
 * The seal of a record's whole segment. A segment is sealed as one, so one question answers for every row of it:
 * a list of a thousand rows asks a handful of times, not a thousand.
 */
export const sealQuery = (record: string) =>
  queryOptions({
    queryKey: ['seal', record.split('-')[0]],
    queryFn: async ({ signal }) => ({ asked: record, ...(await get<Evidence>(apiUrl(`/records/${record}/evidence`), signal)) }),
    staleTime: 60_000,
    refetchInterval: (query) => (query.state.data?.state === 'pending' ? 20_000 : false),
  });

/** Of one record's check on this page, or of all of them. */
export const verificationKey = (record?: string) => (record ? ['verification', record] : ['verification']);
/** The server's own check of itself. */
export const verify = (record: string) => change<Verification>('POST', apiUrl(`/records/${record}/verify`), {});
export const proofUrl = (record: string) => apiUrl(`/records/${record}/proof`);

export const proofText = async (record: string) => (await send('GET', proofUrl(record))).text();
export const rawUrl = (record: string) => apiUrl(`/records/${record}/raw`);
export const rawBytes = async (record: string) => new Uint8Array(await (await send('GET', rawUrl(record))).arrayBuffer());
/** The log's public key by the server's word. */
export const serverKey = async () => (await (await send('GET', apiUrl('/log/key'))).text()).trim();

export interface AlertFilter { status?: string | undefined; severity?: string | undefined; q?: string | undefined }

export const alertsQuery = (filter: AlertFilter) =>
  infiniteQueryOptions({
    queryKey: ['alerts', filter],
    queryFn: ({ pageParam, signal }) => get<AlertPage>(apiUrl('/alerts', { ...filter, limit: 100, cursor: pageParam }), signal),
    initialPageParam: undefined as number | undefined,
    getNextPageParam: (last) => last.next_cursor ?? undefined,
  });

export const alertQuery = (id: string) => queryOptions({ queryKey: ['alert', id], queryFn: ({ signal }) => get<AlertDetail>(apiUrl(`/alerts/${encodeURIComponent(id)}`), signal) });
export const changeAlert = (id: string, body: AlertChange) => change<AlertDetail>('PATCH', apiUrl(`/alerts/${encodeURIComponent(id)}`), body);

export const incidentsQuery = () =>
  queryOptions({
    queryKey: ['incidents'],
    queryFn: async ({ signal }) => (await get<IncidentList>(apiUrl('/incidents'), signal)).incidents,
  });
export const incidentQuery = (id: string) => queryOptions({ queryKey: ['incident', id], queryFn: ({ signal }) => get<Incident>(apiUrl(`/incidents/${encodeURIComponent(id)}`), signal) });
export const reconstruct = (seed: { from_finding: string } | { from_record: string }) => change<Incident>('POST', apiUrl('/incidents'), seed);

export const sourcesQuery = () => queryOptions({ queryKey: ['sources'], queryFn: ({ signal }) => get<SourceList>(apiUrl('/sources'), signal) });
/** With all its events counted, which is not asked again by itself. */
export const sourceQuery = (name: string) =>
  queryOptions({ queryKey: ['sources', name], queryFn: ({ signal }) => get<SourceDetail>(apiUrl(`/sources/${encodeURIComponent(name)}`), signal) });
export const changeSource = (body: SourceChange) => change<ChangedSource>('POST', apiUrl('/sources'), body);

export const statusQuery = () => queryOptions({ queryKey: ['status'], queryFn: ({ signal }) => get<Status>(apiUrl('/status'), signal), staleTime: 10_000 });
