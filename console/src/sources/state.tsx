import type { SourceState } from '../api/types';

const STATES: Record<SourceState, [string, string]> = {
  enabled: ['●', 'enabled'],
  disabled: ['◐', 'disabled'],
  retired: ['○', 'retired'],
  unregistered: ['○', 'not registered'],
};

/** What becomes of what a source sends. */
export function StateOf({ state }: { state: SourceState }) {
  const [sign, words] = STATES[state];
  return <span className={`source-state ${state}`}><span aria-hidden="true">{sign}</span>{words}</span>;
}
