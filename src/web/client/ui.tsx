/** The parts that all views are made of. */
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { ApiError } from "./api.ts";

/** A number with its name. */
export function Stat(
  { label, value, unit, tone, title }: {
    label: string;
    value: string;
    unit?: string;
    tone?: "alert" | "quiet" | undefined;
    title?: string;
  },
) {
  return (
    <div class={`stat ${tone ?? ""}`} title={title}>
      <dt>{label}</dt>
      <dd>
        {value}
        {unit && <span class="unit">{unit}</span>}
      </dd>
    </div>
  );
}

export function Badge(
  { tone, children }: { tone?: "paused" | "dead" | "quiet"; children: ComponentChildren },
) {
  return <span class={`badge ${tone ?? "quiet"}`}>{children}</span>;
}

/** What is shown where there is nothing, with the command to try. */
export function Empty(
  { title, children, command }: {
    title: string;
    children?: ComponentChildren;
    command?: string;
  },
) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children && <p>{children}</p>}
      {command && <Command text={command} />}
    </div>
  );
}

function Command({ text }: { text: string }) {
  const [copied, setCopied] = useState(false);
  return (
    <div class="command">
      <code>{text}</code>
      <button
        type="button"
        class="quiet"
        onClick={() => navigator.clipboard?.writeText(text).then(() => setCopied(true))}
      >
        {copied ? "Copied" : "Copy"}
      </button>
    </div>
  );
}

/** Depth over the last minutes, in the height of a line of text. */
export function Sparkline({ values, label }: { values: readonly number[]; label: string }) {
  const [width, height] = [96, 22];
  if (values.length < 2) {
    return <svg class="spark" width={width} height={height} aria-hidden="true" />;
  }
  const most = Math.max(1, ...values);
  const step = width / (values.length - 1);
  const points = values.map((value, index) => {
    return `${(index * step).toFixed(1)},${
      (height - 2 - (value / most) * (height - 4)).toFixed(1)
    }`;
  });
  return (
    <svg class="spark" width={width} height={height} role="img" aria-label={label}>
      <path class="area" d={`M0,${height} L${points.join(" L")} L${width},${height} Z`} />
      <polyline points={points.join(" ")} />
    </svg>
  );
}

/** What is shown while an answer is on its way, when that takes a moment. */
export function Looking() {
  return <p class="none muted looking" role="status">Looking&#x2026;</p>;
}

/** A list that stays as it is until somebody asks for what is new. */
export function ListCard(
  { label, said, again, error, children }: {
    label: string;
    said?: ComponentChildren;
    again: () => void;
    error: ApiError | undefined;
    children: ComponentChildren;
  },
) {
  return (
    <section class="card" aria-label={label}>
      <div class="toolbar">
        <span class="muted" role="status">{said}</span>
        <span class="space" />
        <button type="button" class="quiet" onClick={again}>Refresh</button>
      </div>
      {error && <p class="none error-text">{error.message}</p>}
      {children}
    </section>
  );
}

/** A dialog of the browser: it keeps the focus, and Escape closes it. */
export function Dialog(
  { title, onClose, children, wide }: {
    title: string;
    onClose: () => void;
    children: ComponentChildren;
    wide?: boolean;
  },
) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    dialog.current!.showModal();
    return () => before?.focus?.();
  }, []);
  return (
    <dialog
      ref={dialog}
      class={wide ? "wide" : ""}
      aria-labelledby={id}
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && onClose()}
    >
      <div class="dialog-body">
        <header>
          <h2 id={id}>{title}</h2>
          <button type="button" class="quiet icon" aria-label="Close" onClick={onClose}>
            &#x2715;
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}

/** What is asked before something is done that cannot be undone. */
export interface Question {
  readonly title: string;
  readonly text: ComponentChildren;
  /** What the button says: "Drop 12 tasks". */
  readonly action: string;
  readonly danger?: boolean;
  /** @returns what was done, in a sentence */
  readonly act: () => Promise<string>;
}

interface Note {
  readonly id: number;
  readonly text: string;
  readonly isError: boolean;
}

/** Says what was done, and asks before what cannot be undone. One for the page. */
class Desk {
  notes: readonly Note[] = [];
  question: Question | undefined;
  changed = () => {};
  #next = 0;

  say(text: string, isError = false): void {
    const note = { id: this.#next++, text, isError };
    this.notes = [...this.notes.slice(-3), note];
    this.changed();
    setTimeout(() => this.drop(note.id), isError ? 15_000 : 8_000);
  }

  drop(id: number): void {
    this.notes = this.notes.filter((note) => note.id !== id);
    this.changed();
  }

  ask(question: Question | undefined): void {
    this.question = question;
    this.changed();
  }

  /** Does it, and says what came of it. @returns whether it was done */
  async attempt(act: () => Promise<string>): Promise<boolean> {
    try {
      this.say(await act());
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.say(error.message, true);
      return false;
    }
  }
}

export const desk = new Desk();

export function DeskView() {
  const [, setTick] = useState(0);
  const [busy, setBusy] = useState(false);
  desk.changed = () => setTick((tick) => tick + 1);
  const { question, notes } = desk;
  async function confirm(): Promise<void> {
    setBusy(true);
    await desk.attempt(question!.act);
    setBusy(false);
    desk.ask(undefined);
  }
  return (
    <>
      {question && (
        <Dialog title={question.title} onClose={() => desk.ask(undefined)}>
          <p>{question.text}</p>
          <footer>
            <button type="button" onClick={() => desk.ask(undefined)}>Cancel</button>
            <button
              type="button"
              class={question.danger ? "danger" : "primary"}
              disabled={busy}
              onClick={confirm}
            >
              {question.action}
            </button>
          </footer>
        </Dialog>
      )}
      <div class="notes" role="status" aria-live="polite">
        {notes.map(({ id, text, isError }) => (
          <div key={id} class={isError ? "note error" : "note"}>
            <span>{text}</span>
            <button
              type="button"
              class="quiet icon"
              aria-label="Dismiss"
              onClick={() => desk.drop(id)}
            >
              &#x2715;
            </button>
          </div>
        ))}
      </div>
    </>
  );
}

/** A value that is asked for once, and again when told to. */
export function useAsked<T>(
  ask: () => Promise<T>,
  inputs: readonly unknown[],
): { value: T | undefined; error: ApiError | undefined; again: () => Promise<void> } {
  const [state, setState] = useState<{ value?: T; error?: ApiError }>({});
  const latest = useRef(0);
  async function load(): Promise<void> {
    const turn = ++latest.current;
    try {
      const value = await ask();
      if (turn === latest.current) setState({ value });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (turn === latest.current) setState((state) => ({ ...state, error }));
    }
  }
  useEffect(() => {
    setState({});
    load();
    return () => void latest.current++;
  }, inputs);
  return { value: state.value, error: state.error, again: load };
}
