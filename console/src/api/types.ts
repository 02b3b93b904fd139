// The names of `/api/v1`'s shapes. The shapes themselves are in `generated.ts`, made from the server's own description by `cargo xtask openapi`.
import type { components } from './generated';

export type Scalar = string | number | boolean | null;
export type Json = Scalar | Json[] | { [key: string]: Json };

/** A shape with `Json` where the description says nothing more of a value than that it is JSON. */
type Known<T> = unknown extends T ? Json : T extends (infer U)[] ? Known<U>[] : T extends object ? { [K in keyof T]: Known<T[K]> } : T;
type Shapes = components['schemas'];

export type Session = Shapes['SignedIn'];

/** What a refusal says; the console's own errors have no request at the server. */
export type ApiErrorBody = Omit<Shapes['FaultDetail'], 'request_id'> & { request_id?: string };

export type Row = Known<Shapes['Row']>;
export type Cost = Shapes['Cost'];
/** What a search has done so far; nothing before its first word. */
export type Progress = Partial<Cost>;
export type SearchLine = Known<Shapes['SearchLine']>;
/** A table as it is put together from the lines of a search. */
export interface TableData { columns: string[]; rows: Json[][] }

export type Histogram = Shapes['Histogram'];
export type Fields = Shapes['Fields'];
export type FieldSummary = Shapes['FieldSummary'];
export type FullEvent = Known<Shapes['FullEvent']>;

export type EvidenceState = Shapes['EvidenceState'];
export type Evidence = Shapes['Evidence'];
export type Verification = Shapes['Verification'];

export type AlertStatus = Shapes['AlertStatus'];
export type AlertSummary = Known<Shapes['Alert']>;
export type AlertDetail = Known<Shapes['AlertDetail']>;
export type AlertPage = Known<Shapes['AlertPage']>;
export type AlertChange = Shapes['AlertChange'];

export type Step = Shapes['Step'];
export type Because = Shapes['Because'];
export type ProcessNode = Shapes['ProcessNode'];
export type IncidentList = Shapes['IncidentList'];
export type Incident = Shapes['Incident'];

export type Source = Shapes['Source'];
export type SourceState = Shapes['SourceState'];
export type SourceList = Shapes['SourceList'];
export type SourceDetail = Shapes['SourceDetail'];
export type ReadAs = Shapes['ReadAs'];
export type SourceChange = Partial<Shapes['SourceChange']> & Pick<Shapes['SourceChange'], 'act'>;
export type ChangedSource = Shapes['ChangedSource'];

export type Status = Known<Shapes['Status']>;
