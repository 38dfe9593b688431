/** Messages of a lane that wait in the store only: how many they are, and which are left out. */

import type { Message } from "../message/message.ts";
import type { DeadCount, DeadMessages } from "../store/messages/dead_messages.ts";

export class Paged {
  readonly #lane: number;
  readonly #dead: DeadMessages;
  count = 0;
  /** Of their bodies. */
  bytes = 0;
  /** Those among them that survive a restart. */
  durable = 0;
  durableBytes = 0;
  /** The last position of a dead message of a former process; 0: there was none. */
  #lastDead = 0;
  /** Positions of those that were taken out; they may be gone. */
  #takenOut: Set<number> | undefined;

  constructor(lane: number, dead: DeadMessages) {
    this.#lane = lane;
    this.#dead = dead;
  }

  /** All of a lane is here, but for the dead of a former process. */
  restore(count: number, bytes: number, dead: DeadCount | undefined): void {
    this.#lastDead = dead?.last ?? 0;
    this.count = this.durable = count - (dead?.count ?? 0);
    this.bytes = this.durableBytes = bytes - (dead?.bytes ?? 0);
  }

  add(message: Message): void {
    this.#change(message, 1);
  }

  /** It is in memory now, or gone. */
  remove(message: Message): void {
    this.#change(message, -1);
  }

  #change(message: Message, change: 1 | -1): void {
    this.count += change;
    this.bytes += change * message.bodyLength;
    if (!message.durable) return;
    this.durable += change;
    this.durableBytes += change * message.bodyLength;
  }

  /** It is not delivered, though it was not read yet. */
  takeOut(message: Message): void {
    (this.#takenOut ??= new Set()).add(message.position);
    this.remove(message);
  }

  /** All up to a position were read. */
  readUpTo(last: number): void {
    for (const at of this.#takenOut ?? []) if (at <= last) this.#takenOut!.delete(at);
  }

  /** Those of some that were read, in order, that are to be delivered. */
  live(messages: Message[]): Message[] {
    const first = messages[0]?.position ?? Infinity;
    const dead = first > this.#lastDead
      ? undefined
      : new Set(this.#dead.positions(this.#lane, first, messages.at(-1)!.position));
    if (dead === undefined && !this.#takenOut?.size) return messages;
    return messages.filter(({ position }) =>
      dead?.has(position) !== true && !this.#takenOut?.has(position)
    );
  }

  /** Positions of the dead from one on: they have a way to go, whatever becomes of the others. */
  deadFrom(first: number): number[] {
    return this.#dead.positions(this.#lane, first, this.#lastDead);
  }

  /** None is here any more. */
  clear(): void {
    this.count =
      this.bytes =
      this.durable =
      this.durableBytes =
        0;
    this.#takenOut = undefined;
  }

  /** Nor any dead one of a former process: positions begin anew. */
  startOver(): void {
    this.#lastDead = 0;
  }
}
