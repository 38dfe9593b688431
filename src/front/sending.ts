/** What one task needs while it is sent, maybe several times over. */
import { ConnectionError, reason, type ToolError } from "../errors.ts";
import { formatDuration } from "../task/duration.ts";
import { heed } from "./signal.ts";

/** The time of one task, and what has gone wrong in it. */
export class Sending {
  /** What failed last; for the sentence when the time is over. */
  trouble: ToolError | undefined;
  /** As performance.now(). */
  readonly endsAt: number;
  readonly #ms: number;
  readonly #signal: AbortSignal | undefined;
  /** Why it is over. */
  #failure: ConnectionError | undefined;
  /** Tells it to what is awaited, which is one thing at a time. */
  #interrupt: (failure: ConnectionError) => void = () => {};
  #whenOver: () => void = () => {};
  readonly #heedNoMore: () => void;

  constructor(ms: number, signal: AbortSignal | undefined) {
    this.#signal = signal;
    this.#ms = ms;
    this.endsAt = performance.now() + ms;
    this.#heedNoMore = heed(signal, this.#onAbort);
  }

  get isOver(): boolean {
    return this.#failure !== undefined;
  }

  unlessOver<T>(promise: Promise<T>): Promise<T> {
    // Not a race: of that, something would stay with each sending for as long as the task waits.
    return new Promise((resolve, reject) => {
      this.#interrupt = reject;
      if (this.#failure !== undefined) reject(this.#failure);
      promise.then(resolve, reject);
    });
  }

  /** Calls back when the time is over; only the last one. */
  whenOver(callback: () => void): void {
    this.#whenOver = callback;
  }

  timeOut(): void {
    this.#fail(`within ${formatDuration(this.#ms)}`);
  }

  abandon(): void {
    this.#fail("before the end");
  }

  end(): void {
    this.#heedNoMore();
  }

  readonly #onAbort = () => this.#fail(`until it was given up (${reason(this.#signal!.reason)})`);

  #fail(when: string): void {
    if (this.#failure !== undefined) return;
    const why = this.trouble === undefined ? "" : `: ${this.trouble.message}`;
    this.#failure = new ConnectionError(
      `the task was not confirmed ${when}, and may be on the queue or not${why}`,
      this.trouble?.exitCode,
    );
    this.#whenOver();
    this.#interrupt(this.#failure);
  }
}
