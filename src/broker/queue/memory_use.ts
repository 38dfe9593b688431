/** What messages take in memory. */

import { LARGE_BYTES, type Sharing } from "../message/content.ts";
import { DefinitionRoom } from "./definition_room.ts";
import { KeyMemory } from "./key_memory.ts";
import type { Message } from "../message/message.ts";

/** Bytes that a message in memory takes besides its own, about. */
export const OVERHEAD_BYTES = 800;

/** Bytes of memory that a message takes, about. Those of large and thin ones stay in the store. */
export function weightOf(message: Message): number {
  return message.size < LARGE_BYTES && !message.thin
    ? OVERHEAD_BYTES + message.size
    : OVERHEAD_BYTES;
}

/** What the messages of all queues take in memory. Shared by the queues and lanes, who write it. */
export class MemoryUse {
  bytes = 0;
  limit: number;
  /** What queues without duplicates remember, which has a limit of its own. */
  readonly keys: KeyMemory;
  /** What queues take besides their messages, exchanges and bindings: a limit of its own, too. */
  readonly definitions: DefinitionRoom;

  /** @param limit in bytes @param keys the same, of the keys @param definitions and of these */
  constructor(limit: number, keys = Infinity, definitions = Infinity) {
    this.limit = limit;
    this.keys = new KeyMemory(keys);
    this.definitions = new DefinitionRoom(definitions);
  }

  /** @param limit in bytes @param keys the same, of the keys @param definitions and of these */
  limitTo(limit: number, keys: number, definitions: number): void {
    this.limit = limit;
    this.keys.limitTo(keys);
    this.definitions.limitTo(definitions);
  }

  get isFull(): boolean {
    return this.bytes >= this.limit;
  }

  add(message: Message): void {
    const sharing = sharingOf(message);
    const isCounted = sharing !== undefined && sharing.messages++ > 0;
    this.bytes += isCounted ? OVERHEAD_BYTES : weightOf(message);
  }

  remove(message: Message): void {
    const sharing = sharingOf(message);
    const isCounted = sharing !== undefined && --sharing.messages > 0;
    this.bytes -= isCounted ? OVERHEAD_BYTES : weightOf(message);
  }
}

/** What it shares, as long as it has its bytes in memory. */
function sharingOf({ thin, sharing }: Message): Sharing | undefined {
  return thin ? undefined : sharing;
}
