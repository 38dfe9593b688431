/** One dead letter: which message it is, how far it has come, and what is written on it. */

import { shownCopies } from "../message/copies.ts";
import type { Content } from "../message/content.ts";
import { ContentHeader } from "../message/content_header.ts";
import type { Field, Table } from "../wire/fields.ts";
import { type Message, type Publication, publicationOf } from "../message/message.ts";
import { addressOf, readAddress } from "../message/address.ts";
import { deathHeaders, type DeathReason, recordDeath } from "../message/deaths.ts";
import type { Queue } from "../queue/queue.ts";
import type { Way } from "./way.ts";

export interface DeadLetter {
  readonly queue: Queue;
  readonly message: Message;
  readonly reason: DeathReason;
  /** Queues that have it, while others refuse it. Very many letters may be kept, and most have none. */
  takenBy: Set<Queue> | undefined;
  /** Queues whose copy of it the store refuses. */
  unstoredBy: Set<Queue> | undefined;
  /** How often it was kept for that. */
  unstored: number;
  /** Its message is gone. */
  isBuried: boolean;
  /** Its way to its queues, while it goes it. */
  way: Way | undefined;
}

export function letterOf(queue: Queue, message: Message, reason: DeathReason): DeadLetter {
  const none = { takenBy: undefined, unstoredBy: undefined, way: undefined };
  return { queue, message, reason, ...none, unstored: 0, isBuried: false };
}

/** What a dead message is published as, and what routes it. */
export interface Rewritten {
  readonly publication: Publication;
  /** Routing keys; the first one is the address's. */
  readonly keys: string[];
  /** As they were before this death. */
  readonly headers: Table;
  /** The entries of x-death, this one included. */
  readonly deaths: Field[];
}

/** Notes the death in the headers of a message and gives it its new address. */
export function rewrite({ queue, reason }: DeadLetter, content: Content): Rewritten {
  const { deadLetterExchange, deadLetterRoutingKey } = queue.arguments;
  const header = new ContentHeader().scanOf(content);
  const address = readAddress(content.address);
  const headers = header.headers();
  const routingKeys = [address.routingKey, ...shownCopies(headers)];
  const [first, ...others] = deadLetterRoutingKey === undefined
    ? routingKeys
    : [deadLetterRoutingKey];
  const newAddress = addressOf(deadLetterExchange!, first!);
  // A key that is too long is routed as receivers see it.
  const keys = [readAddress(newAddress).routingKey, ...others];
  const deaths = recordDeath(headers, {
    queue: queue.name,
    reason,
    exchange: address.exchange,
    routingKeys,
    expiration: header.expiration,
  });
  const changed = header.rewrite({
    dropExpiration: true,
    set: deathHeaders(headers, deaths),
    drop: deadLetterRoutingKey === undefined ? [] : ["CC"],
  });
  const letter = content.withHeader(changed, newAddress);
  return { publication: publicationOf(letter, header, undefined), keys, headers, deaths };
}
