export const KEY: string;
export const CHECKPOINT: { origin: string; size: number; root: string; at: string };
export function proof(record: string): string;
export function rawBytes(event: unknown): Uint8Array;
