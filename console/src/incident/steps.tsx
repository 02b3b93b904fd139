import { useEffect, useRef } from 'react';
import { Link } from '@tanstack/react-router';
import type { Step } from '../api/types';
import { Icon } from '../ui/icons';
import { OrderMark, Time } from '../ui/marks';
import { Records } from '../ui/records';
import { humanise } from '../util/format';
import { paths } from '../util/paths';
import { becauseText } from './story';

interface Props { steps: Step[]; selected: number | undefined; onSelect: (n: number) => void }

/** Text with `code` in backticks, as claims are written. */
function Claim({ text }: { text: string }) {
  return <>{text.split('`').map((part, i) => (i % 2 === 1 ? <code key={i}>{part}</code> : part))}</>;
}

function StepCard({ step, selected, onSelect }: { step: Step; selected: boolean; onSelect: (n: number) => void }) {
  const card = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (selected) card.current?.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
  }, [selected]);
  const actor = [step.actor.user, step.actor.process].filter(Boolean).join(' · ');
  const cause = step.because.step;
  return (
    <li ref={card} className={`step${selected ? ' selected' : ''}`} aria-current={selected ? 'step' : undefined}>
      <button type="button" className="step-number" aria-label={`Select step ${step.n}`} onClick={() => onSelect(step.n)}>{step.n}</button>
      <div className="stack tight">
        <p className="claim"><Claim text={step.action} /></p>
        <div className="line step-facts">
          <span className="mono"><Time value={step.time} certainty={step.time_certainty} zone /></span>
          <OrderMark certainty={step.certainty} />
          {step.host ? <span className="chip">{step.host}</span> : null}
          {actor ? <span>{actor}</span> : null}
          {step.actor.session ? <span className="muted">session {step.actor.session}</span> : null}
        </div>
        <div className="line step-facts">
          {step.technique.uid ? <span className="chip"><span className="mono">{step.technique.uid}</span> {step.technique.name}</span> : null}
          {step.tactic ? <span className="muted">{humanise(step.tactic.replaceAll('-', ' '))}</span> : null}
          {cause
            ? <button type="button" className="because" onClick={() => onSelect(cause)}><Icon name="link" size={12} /> {becauseText(step.because)}</button>
            : <span className="because"><Icon name="link" size={12} /> {becauseText(step.because)}</span>}
          {step.findings.map((f) => <Link key={f} {...paths.alert(f)} className="because"><Icon name="warning" size={12} /> alert</Link>)}
        </div>
        <Records records={step.records} first={6} />
        {step.records_omitted ? <p className="muted">{step.records_omitted} further records show the same.</p> : null}
      </div>
    </li>
  );
}

export function Steps({ steps, selected, onSelect }: Props) {
  return <ol className="steps">{steps.map((s) => <StepCard key={s.n} step={s} selected={s.n === selected} onSelect={onSelect} />)}</ol>;
}
