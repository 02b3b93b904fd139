export const EVENTS: { record: string; raw: string }[];
export const OPEN_SEGMENT: number;
export const TAMPERED: string;
