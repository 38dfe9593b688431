/**
 * What a queue drops at its head when it is too long. Very many may have to go for one large message:
 * then some go at a time, and until it is done nobody gets any, nor may publish more.
 */

import type { Message } from "../message/message.ts";
import type { QueueArguments } from "./arguments.ts";
import type { ReadyMessages } from "./ready.ts";

/** Messages that go in one go. */
const PIECE = 512;

export class Overflow {
  /** More have to go. */
  isUnderWay = false;

  /** @param die takes what was dropped @returns whether any was */
  drop(ready: ReadyMessages, args: QueueArguments, die: (message: Message) => void): boolean {
    this.isUnderWay = false;
    if (args.overflow !== "drop-head") return false;
    let dropped = 0;
    while (ready.count > 0 && ready.isTooLong(args)) {
      if (dropped === PIECE) {
        this.isUnderWay = true;
        break;
      }
      const message = ready.take();
      if (message === undefined) break;
      die(message);
      dropped++;
    }
    return dropped > 0;
  }
}
