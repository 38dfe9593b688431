/** Deliveries that wait until they may begin. */
import type { Delivery } from "../amqp/consumption.ts";
import { isSameTask } from "./finished.ts";

export class Turns {
  /** In order; called when they may look again. */
  readonly #waiters = new Set<() => void>();
  /** Those taken whose connection is lost, by id, and the connections that were looked at since. */
  readonly #orphans = new Map<string, Set<Delivery>>();
  readonly #lookedAt = new WeakSet<AbortSignal>();
  readonly #taken: () => readonly Delivery[];

  /** @param taken what has begun and has not ended */
  constructor(taken: () => readonly Delivery[]) {
    this.#taken = taken;
  }

  /** Whether the same task, on a connection that is lost, has not ended: its result will do for both. */
  isUnderWay({ lost, task }: Delivery): boolean {
    if (!task.redelivered) return false;
    // Whatever it may be the same as was lost before its own connection was made.
    if (!this.#lookedAt.has(lost)) this.#findOrphans(lost);
    const alike = this.#orphans.get(task.id);
    return alike !== undefined && [...alike].some((orphan) => isSameTask(orphan.task, task));
  }

  /** Resolves when a task has ended, when `wake` is called, or when the delivery is lost. */
  wait(delivery: Delivery): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiters.delete(wake);
        delivery.lost.removeEventListener("abort", wake);
        resolve();
      };
      this.#waiters.add(wake);
      delivery.lost.addEventListener("abort", wake);
    });
  }

  ended(delivery: Delivery): void {
    if (this.#orphans.size > 0) this.#orphans.get(delivery.task.id)?.delete(delivery);
    this.wake();
  }

  wake(): void {
    if (this.#waiters.size === 0) return;
    for (const wake of [...this.#waiters]) wake();
  }

  #findOrphans(connection: AbortSignal): void {
    this.#lookedAt.add(connection);
    this.#orphans.clear();
    for (const delivery of this.#taken()) {
      if (delivery.live) continue;
      const { id } = delivery.task;
      const alike = this.#orphans.get(id);
      if (alike === undefined) this.#orphans.set(id, new Set([delivery]));
      else alike.add(delivery);
    }
  }
}
