/**
 * Counts the starts of a task that was delivered before. A broker counts deliveries, and many of
 * them were no start: the task lay in the buffer of a worker that was killed, somebody looked at it,
 * or gave it back. A crash is a start without an end. So each start is written down on the broker
 * before it happens, as a message on a queue of the task's own, which is deleted when the task ends.
 */
import { deadline } from "../time/deadline.ts";
import { EXIT, reason, ToolError } from "../errors.ts";
import type { Logger } from "../observe/log.ts";
import type { Task } from "../task/task.ts";
import { startsQueue } from "../task/topology.ts";
import { fingerprint } from "./finished.ts";
import type { Copier } from "./copier.ts";

/**
 * How long a task waits for its count at most, in milliseconds: a broker may be silent. One that is
 * known to block publishers is not waited for.
 */
const PATIENCE_MS = 5_000;

const MARK_LETTERS = 10;

export class Starts {
  readonly #copier: Pick<Copier, "count" | "note" | "takeBack" | "remove">;
  readonly #log: Logger;
  /** Of the task that came last. */
  #mark: Promise<string> = Promise.resolve("");
  /** Writing down has failed; told once. */
  #failed = false;

  constructor(copier: Pick<Copier, "count" | "note" | "takeBack" | "remove">, log: Logger) {
    this.#copier = copier;
    this.#log = log;
  }

  /**
   * Starts of this very message; undefined: nobody can know, because no such queue can be made;
   * "unknown": not now, as while the broker blocks, which is no fault of the task. Never rejects.
   */
  async count(task: Task): Promise<number | undefined | "unknown"> {
    return await this.#attempt(task, (queue) => this.#copier.count(queue));
  }

  /** A start is about to happen; resolves when that is written down, or cannot be. Never rejects. */
  async note(task: Task): Promise<void> {
    await this.#attempt(task, (queue) => this.#copier.note(queue));
  }

  /**
   * One start that was written down was none, or is of a worker that still lives and has only lost
   * its connection. Never rejects.
   */
  async takeBack(task: Task): Promise<void> {
    await this.#attempt(task, (queue) => this.#copier.takeBack(queue));
  }

  /** It has ended, or was given back. Never rejects. */
  async forget(task: Task): Promise<void> {
    await this.#attempt(task, (queue) => this.#copier.remove(queue));
  }

  async #attempt<T>(
    task: Task,
    act: (queue: ReturnType<typeof startsQueue>) => Promise<T>,
  ): Promise<T | undefined | "unknown"> {
    try {
      const queue = startsQueue(task.queue, await this.#markOf(task));
      return await deadline(act(queue), PATIENCE_MS, () => new Error("the broker does not answer"));
    } catch (error) {
      if (!(error instanceof ToolError) || error.exitCode === EXIT.temporary) return "unknown";
      if (!this.#failed) {
        this.#log.warn(
          "starts of tasks that were delivered before cannot be written down, so that whatever was " +
            `delivered counts as a start: ${reason(error)}`,
        );
      }
      this.#failed = true;
      return undefined;
    }
  }

  /** Digests are not made in the order in which they are asked for, and tasks begin in theirs. */
  #markOf(task: Task): Promise<string> {
    const [before, mark] = [this.#mark, markOf(task)];
    return this.#mark = before.then(() => mark);
  }
}

async function markOf(task: Task): Promise<string> {
  const bytes = new TextEncoder().encode(fingerprint(task));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash.subarray(0, MARK_LETTERS), (byte) => (byte % 36).toString(36)).join("");
}
