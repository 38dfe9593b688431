/** When a worker ends by itself. */
export interface LimitOptions {
  /** End when the queues are empty. */
  readonly exitWhenEmpty?: boolean;
  /** End after so long without a task, in milliseconds. */
  readonly idleTimeoutMs?: number;
  /** End after so many tasks. */
  readonly maxTasks?: number;
  /** End after so long, in milliseconds. */
  readonly maxRuntimeMs?: number;
  /** Tasks running now, and tasks started so far. */
  readonly activity: () => { readonly running: number; readonly started: number };
  /** Tasks ready on all queues; undefined when a broker cannot be asked. */
  readonly ready: () => Promise<number | undefined>;
  /** Called once. */
  readonly onEnd: (why: string) => void;
}

/** Without a task for so long, the queues may be empty. */
const QUIET_MS = 1_000;

/** Ends a worker that has done enough. `changed` is called whenever a task starts or ends. */
export class Limits {
  readonly #options: LimitOptions;
  readonly #timers: {
    quiet?: ReturnType<typeof setTimeout>;
    idle?: ReturnType<typeof setTimeout>;
    runtime?: ReturnType<typeof setTimeout>;
  } = {};
  #ended = false;

  constructor(options: LimitOptions) {
    this.#options = options;
    if (options.maxRuntimeMs !== undefined) {
      this.#timers.runtime = setTimeout(() => this.#end("--max-runtime"), options.maxRuntimeMs);
    }
  }

  /** Call it when consumption begins, and whenever a task starts or ends. */
  changed(): void {
    if (this.#ended) return;
    const { exitWhenEmpty, idleTimeoutMs, maxTasks, activity } = this.#options;
    const { running, started } = activity();
    if (maxTasks !== undefined && started >= maxTasks) return this.#end("--max-tasks");
    clearTimeout(this.#timers.quiet);
    clearTimeout(this.#timers.idle);
    if (running > 0) return;
    if (exitWhenEmpty) this.#timers.quiet = setTimeout(() => this.#checkEmpty(), QUIET_MS);
    if (idleTimeoutMs !== undefined) {
      this.#timers.idle = setTimeout(() => this.#end("--idle-timeout"), idleTimeoutMs);
    }
  }

  /** Stops all timers. */
  dispose(): void {
    this.#ended = true;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
  }

  async #checkEmpty(): Promise<void> {
    const { started } = this.#options.activity();
    const ready = await this.#options.ready();
    const now = this.#options.activity();
    if (this.#ended || now.running > 0 || now.started !== started) return;
    if (ready === 0) this.#end("--exit-when-empty");
    else this.#timers.quiet = setTimeout(() => this.#checkEmpty(), QUIET_MS);
  }

  #end(why: string): void {
    if (this.#ended) return;
    this.dispose();
    this.#options.onEnd(why);
  }
}
