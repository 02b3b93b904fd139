// Own line icons on a 16-pixel grid, drawn with the text colour.
const PATHS = {
  search: 'M7 2.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9ZM10.5 10.5 14 14',
  check: 'M3 8.5 6.5 12 13 4.5',
  cross: 'M4 4l8 8M12 4l-8 8',
  clock: 'M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2ZM8 4.8V8l2.2 1.6',
  seal: 'M4 7V5.2a4 4 0 0 1 8 0V7M3 7h10v7H3z',
  shield: 'M8 1.8 13.2 4v4c0 3.2-2.2 5.2-5.2 6.4C5 13.2 2.8 11.200 2.8 8V4ZM5.400 8l1.900 1.900 3.300-3.600',
  warning: 'M8 2 15 14H1ZM8 6.500v3.500M8 12v.2',
  down: 'M4 6l4 4 4-4',
  right: 'M6 4l4 4-4 4',
  left: 'M10 4 6 8l4 4',
  plus: 'M8 3v10M3 8h10',
  minus: 'M3 8h10',
  copy: 'M5.500 5.500h8v8h-8zM10.500 5.500v-3h-8v8h3',
  download: 'M8 2v8M4.500 7 8 10.500 11.500 7M2.500 13.500h11',
  columns: 'M2.500 3h11v10h-11zM6.200 3v10M9.800 3v10',
  tree: 'M2.500 2.500h4v3h-4zM9.500 6.500h4v3h-4zM9.500 11.500h4v3h-4zM4.500 5.500V13h5M4.500 8h5',
  empty: 'M2.500 9 4.500 3h7l2 6v4.500h-11ZM2.500 9h3.300l1 2h2.400l1-2h3.300',
  link: 'M6.500 9.500 9.500 6.500M7 4.500 8.500 3a3 3 0 0 1 4.500 4.500L11.500 9M9 11.500 7.500 13A3 3 0 0 1 3 8.500L4.500 7',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 16 16" fill="none" stroke="currentColor" strokeWidth={1.5} strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
