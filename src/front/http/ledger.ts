/** The tasks that were sent here, for as long as somebody may ask for them. */

import type { KnownTask } from "./known_task.ts";

/** What a task takes beside its texts, in bytes. */
const ENTRY_BYTES = 1_500;

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
  /** Those that go on and have a correlation id of their own, by that. */
  readonly #correlated = new Map<string, Set<KnownTask>>();
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

  /**
   * The task that an answer with this correlation id is of, which names no task: other makers'
   * workers send such. Undefined when it may be of several.
   */
  correlated(correlationId: string): KnownTask | undefined {
    const named = this.#open.get(correlationId)?.task;
    const [one, ...more] = [
      ...(named?.correlationId === correlationId ? [named] : []),
      ...this.#correlated.get(correlationId) ?? [],
    ];
    return more.length === 0 ? one : undefined;
  }

  add(task: KnownTask): void {
    const { id, correlationId } = task;
    const isOwn = task.isAwaited && correlationId !== id;
    const length = id.length + task.queue.length + (isOwn ? correlationId.length : 0);
    const bytes = ENTRY_BYTES + 2 * length;
    if (isOwn) {
      const same = this.#correlated.get(correlationId) ?? new Set();
      this.#correlated.set(correlationId, same.add(task));
    }
    this.#open.set(task.id, { task, bytes, endsAt: Infinity });
    this.#bytes += bytes;
    task.ended.then(() => this.#end(task));
    this.#makeRoom();
  }

  /** It was not sent after all. */
  remove(task: KnownTask): void {
    if (this.#open.get(task.id)?.task === task) this.#forget(this.#open, task.id);
  }

  /** A task takes more memory than before, by so many bytes. */
  grow(task: KnownTask, bytes: number): void {
    const entry = this.#open.get(task.id) ?? this.#ended.get(task.id);
    if (entry?.task !== task) return;
    entry.bytes += bytes;
    this.#bytes += bytes;
    this.#makeRoom();
  }

  #end(task: KnownTask): void {
    const entry = this.#open.get(task.id);
    if (entry?.task !== task) return;
    this.#open.delete(task.id);
    this.#separate(task);
    entry.endsAt = performance.now() + this.#ttlMs;
    this.#ended.set(task.id, entry);
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
    const { bytes, task } = tasks.get(id)!;
    this.#bytes -= bytes;
    tasks.delete(id);
    this.#separate(task);
    task.forget();
  }

  /** No answer is looked for by its correlation id any more. */
  #separate(task: KnownTask): void {
    const same = this.#correlated.get(task.correlationId);
    if (same?.delete(task) && same.size === 0) this.#correlated.delete(task.correlationId);
  }
}
