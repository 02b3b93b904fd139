import type { ChangedSource } from '../api/types';
import { toast } from '../util/toast';

async function copy(text: string) {
  try {
    await navigator.clipboard.writeText(text);
    toast('Copied.');
  } catch {
    toast('The browser did not allow it: select the text and copy it.', true);
  }
}

/** What to paste where the events are. The token in it is shown this once. */
export function Setup({ made }: { made: ChangedSource }) {
  const setup = made.setup ?? '';
  return (
    <div className="stack tight">
      <div className="spread"><span className="label">Paste this where its events are{made.token ? '; the token is shown this once' : ''}</span><button type="button" className="button small" onClick={() => void copy(setup)}>Copy</button></div>
      <pre className="block wrap" tabIndex={0} aria-label="What to paste">{setup}</pre>
    </div>
  );
}
