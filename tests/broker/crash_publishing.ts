/** Publishing with confirms, for the clients of a crash test. */
import { CHUNKED_FROM } from "../../src/broker/message/stored_body.ts";
import type { Peer } from "../support/protocol_peer.ts";
import type { Random } from "../support/random.ts";
import type { Ledger } from "./ledger.ts";

const WINDOW = 200;

/** One publish. */
export interface Publish {
  /** What the ledger knows of it as published, and hears of when it is confirmed. */
  readonly ids: readonly string[];
  readonly target: { exchange?: string; routingKey?: string };
  readonly body: string;
  readonly properties: Record<string, unknown>;
}

/** Publishes whatever is next, until the connection is gone. @param onConfirm told of each */
export async function publishForEver(
  peer: Peer,
  ledger: Ledger,
  next: (number: number) => Publish,
  onConfirm: (ids: readonly string[]) => void = () => {},
): Promise<never> {
  const channel = await peer.open();
  await channel.call("confirm.select");
  const waiting: (readonly string[])[] = [];
  let confirmed = 0;
  for (let number = 1;; number++) {
    const { ids, target, body, properties } = next(number);
    waiting.push(ids);
    await channel.publish(target, body, properties);
    while (waiting.length >= WINDOW || channel.unread > 0) {
      const { deliveryTag } = await channel.expect("basic.ack");
      for (; confirmed < deliveryTag; confirmed++) {
        const ids = waiting.shift()!;
        for (const id of ids) ledger.confirmed(id);
        onConfirm(ids);
      }
    }
  }
}

/** Mostly short; some are large enough to be kept on disk alone, few so large that they go in chunks. */
export function bodyOf(id: string, random: Random): string {
  if (random.below(500) === 0) return id.padEnd(CHUNKED_FROM + random.below(CHUNKED_FROM));
  return id.padEnd(random.below(50) === 0 ? 40_000 : random.below(300));
}
