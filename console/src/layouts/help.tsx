import { Modal } from '../ui/modal';

const KEYS: [string[], string][] = [
  [['Ctrl', 'K'], 'Open the command palette'],
  [['/'], 'Go to the search field of the page'],
  [['j'], 'Next row'],
  [['k'], 'Previous row'],
  [['Enter'], 'Expand or open the row'],
  [['v'], 'Verify the evidence of the row'],
  [['Esc'], 'Close a panel, leave a field'],
  [['←', '→'], 'Move in tabs; fold and unfold in the process tree'],
  [['?'], 'Show these shortcuts'],
];

export function Help({ onClose }: { onClose: () => void }) {
  return (
    <Modal label="Keyboard shortcuts" onClose={onClose}>
      <div className="help">
        <h2>Keyboard shortcuts</h2>
        <dl>
          {KEYS.map(([keys, what]) => (
            <div key={what} className="contents">
              <dt>{keys.map((k) => <kbd key={k}>{k}</kbd>)}</dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
        <p className="muted">In search, click a value in the sidebar to keep only it, hold Alt to leave it out, drag over the histogram to narrow the time.</p>
        <form method="dialog"><button className="button">Close</button></form>
      </div>
    </Modal>
  );
}
