/** Messages of a lane that came back, in the order of their positions. */

import { firstIndex } from "./first_index.ts";
import type { Message } from "../message/message.ts";

export class Returned {
  /** The earliest last. */
  readonly #messages: Message[] = [];

  get length(): number {
    return this.#messages.length;
  }

  /** The earliest last. */
  get all(): readonly Message[] {
    return this.#messages;
  }

  /** The earliest. */
  get first(): Message | undefined {
    return this.#messages[this.#messages.length - 1];
  }

  /** Takes {@link first}. */
  shift(): Message | undefined {
    return this.#messages.pop();
  }

  /** Their order does not matter. */
  add(messages: readonly Message[]): void {
    const all = this.#messages;
    if (messages.length === 1) return this.#addOne(messages[0]!);
    if (this.#areBefore(messages)) {
      for (let index = messages.length - 1; index >= 0; index--) all.push(messages[index]!);
      return;
    }
    for (const message of messages) all.push(message);
    all.sort((one, other) => other.position - one.position);
  }

  /** Whether messages are in order, and before all that are here: as those of a holder mostly are. */
  #areBefore(messages: readonly Message[]): boolean {
    let last = 0;
    for (const { position } of messages) {
      if (position < last) return false;
      last = position;
    }
    return this.first === undefined || last < this.first.position;
  }

  #addOne(message: Message): void {
    const all = this.#messages;
    const { position } = message;
    all.splice(firstIndex(0, all.length, (index) => all[index]!.position <= position), 0, message);
  }

  /** @returns whether it was here */
  delete(message: Message): boolean {
    const index = this.#messages.indexOf(message);
    if (index >= 0) this.#messages.splice(index, 1);
    return index >= 0;
  }

  clear(): void {
    this.#messages.length = 0;
  }
}
