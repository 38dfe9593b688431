/** The tasks that were sent here, for as long as somebody may ask for them. */

/**
 * - `sent`: confirmed; its answer goes elsewhere, or nobody will hear of it
 * - `waiting`: confirmed; no worker has said anything yet
 * - `running`: a worker has told how far it is
 * - `done`, `dead`: the end
 */
export type TaskState = "sent" | "waiting" | "running" | "done" | "dead";

/** What is told of a task: members of its JSON. */
export type Facts = Readonly<Record<string, unknown>>;

export class KnownTask {
  readonly id: string;
  readonly queue: string;
  /** Of the request that it came with. */
  readonly fingerprint: string;
  /** Resolves when the broker has confirmed it. */
  readonly confirmed: Promise<void>;
  readonly #ended = Promise.withResolvers<void>();
  #state: TaskState = "waiting";
  #facts: Facts = {};

  constructor(id: string, queue: string, fingerprint: string, confirmed: Promise<void>) {
    this.id = id;
    this.queue = queue;
    this.fingerprint = fingerprint;
    this.confirmed = confirmed;
    confirmed.catch(() => {});
  }

  get state(): TaskState {
    return this.#state;
  }

  /** Nothing more will be heard of it. */
  get hasEnded(): boolean {
    return this.#state === "done" || this.#state === "dead" || this.#state === "sent";
  }

  /** Resolves when nothing more will be heard of it. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  become(state: TaskState, facts: Facts): void {
    if (this.hasEnded) return;
    this.#state = state;
    this.#facts = facts;
    if (this.hasEnded) this.#ended.resolve();
  }

  /** As JSON has it. */
  describe(): Facts {
    return { id: this.id, queue: this.queue, state: this.#state, ...this.#facts };
  }
}

/** What a task takes beside its texts, in bytes; measured. */
const ENTRY_BYTES = 1_000;

interface Entry {
  readonly task: KnownTask;
  bytes: number;
  /** performance.now() from which it is not known any more. */
  endsAt: number;
}

export class Ledger {
  readonly #ttlMs: number;
  readonly #most: number;
  /** Those that go on, oldest first. */
  readonly #open = new Map<string, Entry>();
  /** Those that have ended, in that order. */
  readonly #ended = new Map<string, Entry>();
  #bytes = 0;

  /**
   * @param ttlMs how long a task is known after its end
   * @param most bytes in all; the oldest go first, those that have ended before the others
   */
  constructor(ttlMs: number, most: number) {
    this.#ttlMs = ttlMs;
    this.#most = most;
  }

  /** Bytes that are taken, about. */
  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#open.size + this.#ended.size;
  }

  get(id: string): KnownTask | undefined {
    this.#forgetOld();
    return (this.#open.get(id) ?? this.#ended.get(id))?.task;
  }

  add(task: KnownTask): void {
    const bytes = ENTRY_BYTES + 2 * (task.id.length + task.queue.length);
    this.#open.set(task.id, { task, bytes, endsAt: Infinity });
    this.#bytes += bytes;
    task.ended.then(() => this.#end(task.id));
    this.#makeRoom();
  }

  /** It was not sent after all. */
  remove(task: KnownTask): void {
    if (this.#open.get(task.id)?.task === task) this.#forget(this.#open, task.id);
  }

  /** A task takes more memory than before. */
  grow(task: KnownTask, bytes: number): void {
    const entry = this.#open.get(task.id);
    if (entry?.task !== task) return;
    entry.bytes += bytes;
    this.#bytes += bytes;
    this.#makeRoom();
  }

  #end(id: string): void {
    const entry = this.#open.get(id);
    if (entry === undefined) return;
    this.#open.delete(id);
    entry.endsAt = performance.now() + this.#ttlMs;
    this.#ended.set(id, entry);
    this.#forgetOld();
  }

  #forgetOld(): void {
    const now = performance.now();
    for (const [id, { endsAt }] of this.#ended) {
      if (endsAt > now) return;
      this.#forget(this.#ended, id);
    }
  }

  #makeRoom(): void {
    for (const tasks of [this.#ended, this.#open]) {
      for (const id of tasks.keys()) {
        if (this.#bytes <= this.#most) return;
        this.#forget(tasks, id);
      }
    }
  }

  #forget(tasks: Map<string, Entry>, id: string): void {
    this.#bytes -= tasks.get(id)!.bytes;
    tasks.delete(id);
  }
}
