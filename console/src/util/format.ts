import type { Json } from '../api/types';

const number = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
export const formatCount = (n: number | null | undefined) => (n === null || n === undefined ? '–' : number.format(n));
export const plural = (n: number, one: string, many = `${one}s`) => `${formatCount(n)} ${n === 1 ? one : many}`;

export function formatBytes(n: number | null | undefined): string {
  if (n === null || n === undefined) return '–';
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let value = n;
  let i = 0;
  while (value >= 1000 && i < units.length - 1) { value /= 1000; i += 1; }
  return `${number.format(value)} ${units[i]}`;
}

export function formatPercent(part: number, whole: number): string {
  if (whole <= 0) return '0 %';
  const percent = (100 * part) / whole;
  return percent > 0 && percent < 1 ? '<1 %' : `${Math.round(percent)} %`;
}

export function showValue(value: Json | undefined): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** `status_detail` or `process.cmd_line` as words for a heading. */
export const humanise = (name: string) => {
  const words = name.replace(/[_.]+/g, ' ').trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
};

/** Nested JSON as dotted names in order, lists of scalars as one value. */
export function flatten(value: Json, prefix = ''): [string, Json][] {
  if (value === null || typeof value !== 'object') return prefix === '' ? [] : [[prefix, value]];
  if (Array.isArray(value)) {
    if (value.every((v) => v === null || typeof v !== 'object')) return [[prefix, value]];
    return value.flatMap((v, i) => flatten(v, `${prefix}[${i}]`));
  }
  return Object.entries(value).flatMap(([key, v]) => flatten(v, prefix ? `${prefix}.${key}` : key));
}

const CLASSES: Record<string, string> = {
  0: 'Base Event', 1001: 'File System Activity', 1002: 'Kernel Extension Activity', 1003: 'Kernel Activity', 1004: 'Memory Activity', 1005: 'Module Activity', 1006: 'Scheduled Job Activity',
  1007: 'Process Activity', 2004: 'Detection Finding', 3001: 'Account Change', 3002: 'Authentication', 3003: 'Authorize Session', 3005: 'User Access Management', 3006: 'Group Management',
  4001: 'Network Activity', 4002: 'HTTP Activity', 4003: 'DNS Activity', 4004: 'DHCP Activity', 4005: 'RDP Activity', 4006: 'SMB Activity', 4007: 'SSH Activity', 4009: 'Email Activity',
  5001: 'Device Inventory Info', 6003: 'API Activity', 201001: 'Registry Key Activity', 201002: 'Registry Value Activity', 201003: 'Windows Resource Activity', 201004: 'Windows Service Activity',
};

/** What a number of OCSF means, for the few attributes whose numbers nobody remembers. */
export function valueLabel(name: string, value: string): string {
  const known = name === 'class_uid' ? CLASSES[value] : name === 'severity_id' ? SEVERITIES[Number(value)] : undefined;
  return known ?? value;
}

export const SEVERITIES: Record<number, string> = { 0: 'Unknown', 1: 'Info', 2: 'Low', 3: 'Medium', 4: 'High', 5: 'Critical', 6: 'Fatal' };
export const severityName = (id: number | undefined) => SEVERITIES[id ?? 0] ?? 'Other';
