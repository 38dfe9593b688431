/** What changes among exchanges, queues and bindings between two commits, as statements. */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import {
  LEAVING,
  type StoredBinding,
  type StoredExchange,
  type StoredQueue,
} from "./definitions.ts";
import type { LogSync } from "../file/log_sync.ts";
import type { Author, RunOne } from "../refusals.ts";
import { storedBytes, storedHex } from "./stored_text.ts";

type Value = string | number | Uint8Array;

/** What an answer to a client may be about. */
export type Subject =
  | { queue: string }
  | { exchange: string }
  | Pick<StoredBinding, "source" | "kind" | "destination">;

/** What a binding leads to. */
export type End = Pick<StoredBinding, "kind" | "destination">;

/** Exchanges whose bindings are deleted one exchange after the other. */
const FEW_SOURCES = 1_000;

/** A statement that waits for the commit, and whom and what it is about. */
interface Change {
  sql: string;
  values: Value[];
  vhost: string;
  subject: Subject;
  author: Author | undefined;
}

export interface DefinitionChangesHooks {
  /** Told of every change that waits for a commit. */
  onChange: () => void;
  /** Told what is not stored as it is in memory, and never will be. */
  onRefused: (vhost: string, subject: Subject) => void;
}

export class DefinitionChanges {
  readonly #database: DatabaseSync;
  readonly #hooks: DefinitionChangesHooks;
  /** By their SQL. */
  readonly #statements = new Map<string, StatementSync>();
  /** Who asks for what changes now; undefined: the broker itself. Written by the store. */
  author: Author | undefined;
  /** Statements that wait for the commit, in order. */
  #changes: Change[] = [];
  readonly #log: LogSync;
  /**
   * What they are about, with Infinity, and what is written and not on disk yet, with the number of
   * its commit.
   */
  readonly #unsaved = new Map<string, number>();

  constructor(database: DatabaseSync, log: LogSync, hooks: DefinitionChangesHooks) {
    this.#database = database;
    this.#log = log;
    this.#hooks = hooks;
  }

  /** Whether a commit would write anything. */
  get dirty(): boolean {
    return this.#changes.length > 0;
  }

  /** Statements that the next commit runs. */
  get pendingRows(): number {
    return this.#changes.length;
  }

  /** Whether a queue, an exchange or what binds two of them is on disk as it is in memory. */
  isSaved(vhost: string, subject: Subject): boolean {
    const commit = this.#unsaved.get(keyOf(vhost, subject));
    return commit === undefined || commit <= this.#log.synced;
  }

  /** Runs a statement with the next commit. */
  #change(vhost: string, subject: Subject, sql: string, values: Value[]): void {
    this.#willChange(vhost, subject);
    this.#changes.push({ sql, values, vhost, subject, author: this.author });
    this.#hooks.onChange();
  }

  #willChange(vhost: string, subject: Subject): void {
    // The commit has no number yet: a checkpoint may come before.
    this.#unsaved.set(keyOf(vhost, subject), Infinity);
  }

  /** Runs the statements, inside the transaction of the caller. */
  write(): void {
    for (const change of this.#changes) this.#run(change);
  }

  #run({ sql, values }: Change): void {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      this.#statements.set(sql, statement = this.#database.prepare(sql));
    }
    statement.run(...values);
  }

  /**
   * The same, but for those that are refused.
   * @param attempt runs a statement
   */
  writeSingly(attempt: RunOne): void {
    this.#changes = this.#changes.filter((change) => {
      const { vhost, subject, author } = change;
      return attempt(
        { author, what: describe(subject), undo: () => this.#hooks.onRefused(vhost, subject) },
        () => this.#run(change),
      );
    });
  }

  /** The changes are written: forget them. */
  written(): void {
    this.#changes = [];
    const { written, synced } = this.#log;
    for (const [key, commit] of this.#unsaved) {
      if (commit === Infinity) this.#unsaved.set(key, written);
      else if (commit <= synced) this.#unsaved.delete(key);
    }
  }

  addExchange(exchange: Omit<StoredExchange, "isLeaving">): void {
    const { vhost, name, type, autoDelete, internal } = exchange;
    this.#change(
      vhost,
      { exchange: name },
      "INSERT INTO exchange VALUES (?, ?, ?, ?, ?, ?)",
      [
        storedBytes(vhost),
        storedBytes(name),
        type,
        Number(autoDelete),
        Number(internal),
        exchange.arguments,
      ],
    );
  }

  /** Some auto-delete exchanges will be looked at, whether they still have bindings, or were. */
  setLeaving(vhost: string, names: readonly string[], isLeaving: boolean): void {
    // There may be very many: a statement for each takes three times as long.
    this.#change(
      vhost,
      { exchange: names[0]! },
      `UPDATE exchange SET auto_delete = ?
       WHERE vhost = ? AND name IN (SELECT unhex(value) FROM json_each(?))`,
      [isLeaving ? LEAVING : 1, storedBytes(vhost), JSON.stringify(names.map(storedHex))],
    );
  }

  removeExchange(vhost: string, name: string): void {
    this.#change(
      vhost,
      { exchange: name },
      "DELETE FROM exchange WHERE vhost = ? AND name = ?",
      [storedBytes(vhost), storedBytes(name)],
    );
  }

  addQueue(queue: StoredQueue): void {
    const { id, vhost, name, autoDelete } = queue;
    this.#change(
      vhost,
      { queue: name },
      "INSERT INTO queue VALUES (?, ?, ?, ?, ?)",
      [id, storedBytes(vhost), storedBytes(name), Number(autoDelete), queue.arguments],
    );
  }

  /** @param lanes the ids of its lanes; the caller has discarded their messages */
  removeQueue(
    { id, vhost, name }: Pick<StoredQueue, "id" | "vhost" | "name">,
    lanes: readonly number[],
  ): void {
    const subject = { queue: name };
    // By their ids: looking for those of a queue would read all lanes.
    for (const lane of lanes) this.#change(vhost, subject, "DELETE FROM lane WHERE id = ?", [lane]);
    this.#change(vhost, subject, "DELETE FROM paused WHERE queue = ?", [id]);
    this.#change(vhost, subject, "DELETE FROM queue WHERE id = ?", [id]);
  }

  setPaused(
    { id, vhost, name }: Pick<StoredQueue, "id" | "vhost" | "name">,
    paused: boolean,
  ): void {
    const sql = paused
      ? "INSERT OR IGNORE INTO paused VALUES (?)"
      : "DELETE FROM paused WHERE queue = ?";
    this.#change(vhost, { queue: name }, sql, [id]);
  }

  addBinding(binding: StoredBinding): void {
    this.#change(
      binding.vhost,
      binding,
      "INSERT OR IGNORE INTO binding VALUES (?, ?, ?, ?, ?, ?)",
      bindingKey(binding),
    );
  }

  removeBinding(binding: StoredBinding): void {
    this.#change(
      binding.vhost,
      binding,
      `DELETE FROM binding WHERE vhost = ? AND source = ? AND kind = ? AND destination = ?
         AND routing_key = ? AND arguments = ?`,
      bindingKey(binding),
    );
  }

  /** All of an exchange. @param ends what they lead to */
  removeBindingsFrom(vhost: string, source: string, ends: Iterable<End>): void {
    for (const end of ends) this.#willChange(vhost, { source, ...end });
    this.#change(
      vhost,
      { exchange: source },
      "DELETE FROM binding WHERE vhost = ? AND source = ?",
      [storedBytes(vhost), storedBytes(source)],
    );
  }

  /** All that lead to something. @param sources exchanges, one at least */
  removeBindingsTo(vhost: string, sources: ReadonlySet<string>, end: End): void {
    const { kind, destination } = end;
    const [first] = sources;
    const subject = { source: first!, ...end };
    if (sources.size > FEW_SOURCES) {
      for (const source of sources) this.#willChange(vhost, { source, ...end });
      // There is no index for that: it looks at every binding, which takes as long as some of those.
      return this.#change(
        vhost,
        subject,
        "DELETE FROM binding WHERE vhost = ? AND kind = ? AND destination = ?",
        [storedBytes(vhost), kind, storedBytes(destination)],
      );
    }
    for (const source of sources) {
      this.#change(
        vhost,
        { source, ...end },
        "DELETE FROM binding WHERE vhost = ? AND source = ? AND kind = ? AND destination = ?",
        [storedBytes(vhost), storedBytes(source), kind, storedBytes(destination)],
      );
    }
  }
}

function describe(subject: Subject): string {
  if ("queue" in subject) return `queue ${JSON.stringify(subject.queue)}`;
  if ("exchange" in subject) return `exchange ${JSON.stringify(subject.exchange)}`;
  return `the binding of ${JSON.stringify(subject.destination)}`;
}

function keyOf(vhost: string, subject: Subject): string {
  if ("queue" in subject) return JSON.stringify(["queue", vhost, subject.queue]);
  if ("exchange" in subject) return JSON.stringify(["exchange", vhost, subject.exchange]);
  const { source, kind, destination } = subject;
  return JSON.stringify(["binding", vhost, source, kind, destination]);
}

function bindingKey(binding: StoredBinding): Value[] {
  const { vhost, source, kind, destination, routingKey } = binding;
  return [
    storedBytes(vhost),
    storedBytes(source),
    kind,
    storedBytes(destination),
    storedBytes(routingKey),
    binding.arguments,
  ];
}
