// The shapes of `/api/v1`, in the words of the contract. `npm run api` writes `generated.ts` from the server's own OpenAPI document for comparison.
export type Scalar = string | number | boolean | null;
export type Json = Scalar | Json[] | { [key: string]: Json };
export type TimeCertainty = 'exact' | 'zone_inferred' | 'year_inferred' | 'received';
export type OrderCertainty = 'certain' | 'likely' | 'unknown';

export interface User { name: string; roles: string[] }
export interface Session { user: User; csrf_token: string }

export interface ApiErrorBody { code: string; message: string; request_id?: string; offset?: number | null }

export interface Row {
  record: string;
  part: number;
  time: string;
  time_certainty?: TimeCertainty;
  class_uid?: number;
  class_name?: string;
  severity_id?: number;
  host?: string | null;
  source?: string | null;
  summary?: string | null;
  fields?: Record<string, Json>;
}

export interface Cost {
  rows_scanned?: number;
  bytes_scanned?: number;
  files?: number;
  files_pruned?: number;
  elapsed_ms?: number;
  matched?: number | null;
  truncated?: boolean;
  next_cursor?: string | number | null;
  notes?: string[];
}

export interface Progress { rows_scanned?: number; files?: number; files_total?: number; elapsed_ms?: number }
export interface TableData { columns: string[]; rows: Json[][] }

export type SearchLine =
  | { type: 'columns'; events: boolean; columns: Json[] }
  | { type: 'row'; row: Row }
  | ({ type: 'progress' } & Progress)
  | { type: 'table'; rows: Json[][] }
  | { type: 'note'; message: string }
  | { type: 'done'; cost: Cost }
  | { type: 'error'; error: ApiErrorBody };

export interface Bucket { at: string; count: number; by_severity?: Record<string, number> }
export interface Histogram { from: string; to: string; bucket_ms: number; buckets: Bucket[] }

export interface FieldValue { value: Json; count: number }
export interface FieldSummary { name: string; kind?: string; count: number; distinct?: number; top: FieldValue[] }
export interface Fields { fields: FieldSummary[]; sampled?: boolean }

export interface Problem { code: string; offset?: number | null; detail: string }
export interface FullEvent {
  record: string;
  part: number;
  receipt: { [key: string]: Json };
  raw_base64: string;
  raw_text: string | null;
  raw_sha256: string;
  native: Json;
  ocsf: Json;
  decoder: string | null;
  mapping: string | null;
  problems: (Problem | string)[];
}

export type EvidenceState = 'verified' | 'pending' | 'sealed' | 'failed';
export interface Checkpoint { origin: string; size: number; root: string; at: string }
export interface Evidence { state: EvidenceState; segment?: number | null; leaf_index?: number | null; checkpoint?: Checkpoint | null }
export interface VerifyStep { name: string; ok: boolean; detail?: string | null }
export interface Verification { state: EvidenceState; checked_at: string; steps: VerifyStep[] }

export type AlertStatus = 'new' | 'in_progress' | 'resolved' | 'suppressed';
export interface Technique { uid: string; name?: string | null; tactic?: string | null }
export interface AlertSummary {
  id: string;
  title: string;
  severity_id: number;
  level?: string;
  status: AlertStatus;
  assignee?: string | null;
  rule_uid?: string | null;
  host?: string | null;
  user?: string | null;
  first_at: string;
  last_at: string;
  count: number;
  records: string[];
  techniques?: Technique[];
  finding?: Json;
}
export interface HistoryEntry { at: string; by?: string | null; change?: string | null; reason?: string | null }
export interface AlertDetail extends AlertSummary {
  matched_fields?: Record<string, Json> | null;
  rule_text?: string | null;
  author?: string | null;
  history?: HistoryEntry[];
}
export interface AlertPage { alerts: AlertSummary[]; total: number; next_cursor?: string | number | null }
export interface AlertChange { status?: AlertStatus; assignee?: string | null; reason?: string }

export interface Actor { user?: string | null; process?: string | null; session?: string | null }
export type Because = { kind: string; step?: number | null; detail?: string | null };
export interface Step {
  n: number;
  time: string;
  time_certainty?: string;
  certainty?: OrderCertainty;
  host?: string | null;
  actor?: Actor | null;
  action: string;
  tactic?: string | null;
  technique?: Technique | null;
  because?: Because | Because[] | string | null;
  records: string[];
  /** Further records that show the same and are not listed. */
  records_omitted?: number;
  /** Ids of alerts. */
  findings?: string[];
}
export interface Edge { from: number; to: number; kind?: string }
export interface ProcessNode {
  id?: string;
  host?: string | null;
  pid?: number | string | null;
  name?: string | null;
  cmd_line?: string | null;
  user?: string | null;
  at?: string | null;
  step?: number | null;
  records?: string[];
  children?: ProcessNode[];
}
/** An incident in the list. */
export interface IncidentRow { id: string; title: string; from: string; to: string; steps: number; created_at?: string | null; created_by?: string | null }
export interface Incident {
  id: string;
  title: string;
  seed?: Json;
  created_at?: string | null;
  from: string;
  to: string;
  hosts: string[];
  users: string[];
  techniques: Technique[];
  steps: Step[];
  edges: Edge[];
  process_tree?: ProcessNode[] | ProcessNode | null;
  story?: string | null;
  /** Outside addresses that took part. */
  addresses?: string[];
  /** What a bound or a gap kept out. */
  notes?: string[];
}
