/** Queues that one connection has to itself, and that end with it. */

import { type Exchange, isExchange } from "./exchange.ts";
import type { Queue } from "../queue/queue.ts";
import { Fault } from "../wire/faults.ts";
import { eachInPieces } from "../../time/pieces.ts";
import type { Scheduler } from "../../time/scheduler.ts";

export class ExclusiveQueues {
  readonly #byConnection = new Map<number, Set<Queue>>();

  /** Notes a new queue, if it is exclusive. */
  add(queue: Queue): void {
    const { ownerId } = queue.identity;
    if (ownerId === undefined) return;
    const others = this.#byConnection.get(ownerId);
    if (others === undefined) this.#byConnection.set(ownerId, new Set([queue]));
    else others.add(queue);
  }

  /** The queue is gone. */
  remove(queue: Queue): void {
    const { ownerId } = queue.identity;
    const others = ownerId === undefined ? undefined : this.#byConnection.get(ownerId);
    if (others?.delete(queue) && others.size === 0) this.#byConnection.delete(ownerId!);
  }

  /**
   * Drops those of a connection that is over, of very many some at a time.
   * @param drop ends with {@link remove}
   * @param then when all are gone
   */
  end(
    connectionId: number,
    drop: (queue: Queue) => void,
    scheduler: Pick<Scheduler, "add">,
    then: () => void,
  ): void {
    const queues = this.#byConnection.get(connectionId) ?? [];
    eachInPieces(queues, drop, (work) => scheduler.add(work), then);
  }
}

/** An exclusive queue is open to its own connection. @throws {Fault} resource-locked */
export function assertOpen(destination: Queue | Exchange, connectionId: number): void {
  if (isExchange(destination)) return;
  const { ownerId } = destination.identity;
  if (ownerId !== undefined && ownerId !== connectionId) throw locked(destination);
}

export function locked(queue: Queue): Fault {
  return new Fault(
    "resource-locked",
    `cannot obtain exclusive access to locked ${queue.title}. It could be originally declared on ` +
      `another connection or the exclusive property value does not match that of the original ` +
      `declaration.`,
  );
}
