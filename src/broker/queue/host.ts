/** What a queue asks of the broker. */

import type { Deadlines } from "../../time/deadlines.ts";
import type { DeathReason } from "../message/deaths.ts";
import type { MemoryUse } from "./memory_use.ts";
import type { Message } from "../message/message.ts";
import type { Scheduler } from "../../time/scheduler.ts";
import type { Store } from "../store/store.ts";

/** What queues use and whom they tell. `Queue`: what they are to it. */
export interface QueueHost<Queue> {
  readonly store: Store;
  readonly memory: MemoryUse;
  readonly deadlines: Deadlines;
  readonly scheduler: Scheduler;
  /** Takes a dead message; it must call its `bury` when the message is dealt with. */
  deadLetter(queue: Queue, message: Message, reason: DeathReason): void;
  /** So many dead letters wait to be sent, of all queues together, that no more should die. */
  readonly isDying: boolean;
  /** Publishes the dead letters so far: what changes next must not change where they go. */
  sendDeadLetters(): void;
  /** Deletes a queue that nobody needs any more. */
  deleteQueue(queue: Queue): void;
}
