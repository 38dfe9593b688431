/**
 * Tasks that were finished when the channel that brought them had died. The broker delivers them
 * again; what was decided then is done without a second run, if they come back to this worker.
 */
import { HEADER } from "../task/headers.ts";
import type { Decision } from "../task/retry.ts";
import type { Task } from "../task/task.ts";

const KEPT_MS = 3_600_000;
const MOST = 10_000;

interface Finished {
  readonly decision: Decision;
  /** performance.now() when it was remembered. */
  readonly since: number;
}

export class FinishedTasks {
  /** By fingerprint, oldest first. */
  readonly #tasks = new Map<string, Finished>();

  /** Tasks without an id cannot be recognised and are not kept. */
  remember(task: Task, decision: Decision): void {
    if (task.id === "") return;
    this.#forgetOld();
    this.#tasks.set(fingerprint(task), { decision, since: performance.now() });
  }

  /** What was decided about a task that has come back, once. */
  take(task: Task): Decision | undefined {
    if (this.#tasks.size === 0 || !task.redelivered || task.id === "") return undefined;
    this.#forgetOld();
    const key = fingerprint(task);
    const finished = this.#tasks.get(key);
    this.#tasks.delete(key);
    return finished?.decision;
  }

  #forgetOld(): void {
    const oldest = performance.now() - KEPT_MS;
    for (const [key, { since }] of this.#tasks) {
      if (since > oldest && this.#tasks.size <= MOST) return;
      this.#tasks.delete(key);
    }
  }
}

/**
 * Tells tasks apart even where a producer gives all of them one id: a wrong match would
 * acknowledge a task that never ran.
 */
function fingerprint(task: Task): string {
  const { properties, body } = task;
  let hash = 0x811c9dc5;
  for (const byte of body) hash = Math.imul(hash ^ byte, 0x01000193);
  return JSON.stringify([
    task.queue,
    task.id,
    String(properties.headers?.[HEADER.hops] ?? 0),
    String(properties.headers?.[HEADER.attempt] ?? 0),
    properties.timestamp?.getTime() ?? 0,
    body.length,
    hash >>> 0,
  ]);
}
