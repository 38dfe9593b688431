/** What ends a worker. */
export type Limit =
  | "--exit-when-empty"
  | "--idle-timeout"
  | "--max-tasks"
  | "--max-runtime"
  | "--max-memory"
  | "--connect-timeout";

/** When a worker ends by itself. */
export interface WorkerLimits {
  /** End when the queues are empty. */
  readonly exitWhenEmpty?: boolean;
  /** End after so long without a task, in milliseconds. */
  readonly idleTimeoutMs?: number;
  /** End after so many tasks. */
  readonly maxTasks?: number;
  /** End after so long, in milliseconds. */
  readonly maxRuntimeMs?: number;
  /** End when this program takes more memory, in bytes; not before its first task. */
  readonly maxMemoryBytes?: number;
  /** End after so long without the broker, in milliseconds; what runs then is finished first. */
  readonly connectTimeoutMs?: number;
}

export interface LimitOptions extends WorkerLimits {
  /** Tasks running now, and tasks started so far. */
  readonly activity: () => { readonly running: number; readonly started: number };
  /** Tasks ready on all queues; undefined when a broker cannot be asked. */
  readonly ready: () => Promise<number | undefined>;
  /** Whether tasks may come now. */
  readonly consuming: () => boolean;
  /** Called once. `away`: the broker could not be reached, and it is no limit that is reached. */
  readonly onEnd: (why: Limit, away: boolean) => void;
}

/** Without a task for so long, the queues may be empty. */
const QUIET_MS = 1_000;

/** A task that runs for long must not take all memory meanwhile. */
const MEMORY_LOOK_MS = 1_000;

/** A worker that is to end soon is started again soon, by cron for instance. */
const DEFAULT_CONNECT_TIMEOUT_MS = 30_000;

/** How long a worker may be without its broker, where that has an end. */
export function connectTimeout(options: WorkerLimits): { readonly connectTimeoutMs?: number } {
  const { connectTimeoutMs, exitWhenEmpty, idleTimeoutMs, maxTasks, maxRuntimeMs } = options;
  if (connectTimeoutMs !== undefined) return { connectTimeoutMs };
  const isToEnd = exitWhenEmpty || (idleTimeoutMs ?? maxTasks ?? maxRuntimeMs) !== undefined;
  return isToEnd ? { connectTimeoutMs: DEFAULT_CONNECT_TIMEOUT_MS } : {};
}

type Timers = {
  [Name in "quiet" | "idle" | "runtime" | "memory" | "broker"]?:
    | ReturnType<typeof setTimeout>
    | undefined;
};

/** Ends a worker that has done enough. */
export class Limits {
  readonly #options: LimitOptions;
  readonly #timers: Timers = {};
  /** Tasks could come, at least once. */
  #worked = false;
  /** The broker has been away for too long. */
  #overdue = false;
  #held = false;
  #ended = false;
  /** When the time for it all is over, in performance.now(). */
  readonly #endsAt: number;

  constructor(options: LimitOptions) {
    this.#options = options;
    this.#endsAt = performance.now() + (options.maxRuntimeMs ?? Infinity);
    this.#awaitEnd();
    this.#watchMemory();
    this.#watchBroker();
  }

  /** Call it when consumption begins or ends. */
  consumptionChanged(): void {
    if (this.#ended || this.#held) return;
    this.#watchBroker();
    this.changed();
  }

  /** Call it whenever a task starts or ends. */
  changed(): void {
    if (this.#ended || this.#held) return;
    if (this.#overdue) this.#watchBroker();
    const { exitWhenEmpty, idleTimeoutMs, maxMemoryBytes, maxTasks, activity } = this.#options;
    const isEndless = !exitWhenEmpty && (idleTimeoutMs ?? maxMemoryBytes ?? maxTasks) === undefined;
    if (isEndless) return;
    const { running, started } = activity();
    if (maxTasks !== undefined && started >= maxTasks) return this.#end("--max-tasks");
    if (maxMemoryBytes !== undefined && this.#tooBig()) return this.#end("--max-memory");
    if (this.#timers.quiet !== undefined) this.#forget("quiet");
    if (this.#timers.idle !== undefined) this.#forget("idle");
    if (running > 0 || !this.#options.consuming()) return;
    if (exitWhenEmpty) this.#timers.quiet = setTimeout(() => this.#checkEmpty(), QUIET_MS);
    if (idleTimeoutMs !== undefined) {
      this.#timers.idle = setTimeout(() => this.#end("--idle-timeout"), idleTimeoutMs);
    }
  }

  /** Ends nothing until `resume`. */
  hold(): void {
    this.#held = true;
    this.#clear();
  }

  resume(): void {
    if (this.#ended) return;
    this.#held = false;
    this.#awaitEnd();
    this.#watchMemory();
    this.consumptionChanged();
  }

  /** Stops all timers. */
  dispose(): void {
    this.#ended = true;
    this.#clear();
  }

  #clear(): void {
    for (const timer of Object.keys(this.#timers)) this.#forget(timer as keyof Timers);
  }

  /** Looked at first: tasks that are short cost more to clear what is not set than to run. */
  #forget(name: keyof Timers): void {
    const timer = this.#timers[name];
    if (timer === undefined) return;
    clearTimeout(timer);
    this.#timers[name] = undefined;
  }

  #awaitEnd(): void {
    if (this.#endsAt === Infinity) return;
    const ms = Math.max(0, this.#endsAt - performance.now());
    this.#timers.runtime = setTimeout(() => this.#end("--max-runtime", !this.#worked), ms);
  }

  #watchMemory(): void {
    if (this.#options.maxMemoryBytes === undefined) return;
    this.#timers.memory = setTimeout(() => {
      if (this.#tooBig()) this.#end("--max-memory");
      else this.#watchMemory();
    }, MEMORY_LOOK_MS);
  }

  /** A limit below what every worker takes still lets each life do one task. */
  #tooBig(): boolean {
    const { activity, maxMemoryBytes } = this.#options;
    if (maxMemoryBytes === undefined || activity().started === 0) return false;
    return Deno.memoryUsage().rss > maxMemoryBytes;
  }

  async #checkEmpty(): Promise<void> {
    const { started } = this.#options.activity();
    const ready = await this.#options.ready();
    const now = this.#options.activity();
    if (this.#ended || this.#held || now.running > 0 || now.started !== started) return;
    if (ready === 0) this.#end("--exit-when-empty");
    else this.#timers.quiet = setTimeout(() => this.#checkEmpty(), QUIET_MS);
  }

  #watchBroker(): void {
    const { activity, connectTimeoutMs, consuming } = this.#options;
    if (consuming()) {
      this.#worked = true;
      this.#overdue = false;
      this.#forget("broker");
    } else if (this.#overdue) {
      if (activity().running === 0) this.#end("--connect-timeout", true);
    } else if (connectTimeoutMs !== undefined) {
      this.#timers.broker ??= setTimeout(() => {
        this.#timers.broker = undefined;
        this.#overdue = true;
        this.#watchBroker();
      }, connectTimeoutMs);
    }
  }

  #end(why: Limit, away = false): void {
    if (this.#ended) return;
    this.dispose();
    this.#options.onEnd(why, away);
  }
}
