/** Messages that are delivered and only in memory: they count there until they are settled. */

import type { Content } from "../message/content.ts";
import { type Message, Row } from "../message/message.ts";
import type { Store } from "../store/store.ts";
import type { MemoryUse } from "./memory_use.ts";

/** A message that basic.get took. */
export interface Fetched {
  readonly message: Message;
  readonly content: Content;
}

/** Gives up the content of a delivered message, if there is no room for those of a transient one. */
export function release(message: Message, store: Store, memory: MemoryUse): void {
  message.release();
  if (message.row !== Row.none || message.held) return;
  if (memory.isFull) return store.insert(message);
  message.content?.detach();
  message.held = true;
  memory.add(message);
}

/** It is settled. */
export function letGo(message: Message, memory: MemoryUse): void {
  if (!message.held) return;
  message.held = false;
  memory.remove(message);
}
