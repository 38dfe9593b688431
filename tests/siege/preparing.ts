/** What several attacks begin with. */
import { setTimeout as pause } from "node:timers/promises";
import { concat, content, method } from "../broker/strangers.ts";
import type { PeerChannel } from "../support/protocol_peer.ts";
import type { Attacker, Siege } from "./siege.ts";

/** Publishes of one byte, as one piece. */
export function publishes(count: number, args: Record<string, unknown>, properties = {}) {
  const one = concat([method(1, "basic.publish", args), ...content(1, "x", properties)]);
  return concat(Array(count).fill(one));
}

/** Fills a queue; returns when all is confirmed. */
export async function fill(
  siege: Siege,
  queue: string,
  count: number,
  properties = {},
): Promise<void> {
  const peer = await siege.peer();
  const channel = await peer.open();
  await channel.call("confirm.select");
  const batch = 1_000;
  for (let sent = 0; sent < count; sent += batch) {
    await peer.sendBytes(
      publishes(Math.min(batch, count - sent), { routingKey: queue }, properties),
    );
    const most = Math.min(sent + batch, count);
    for (let tag = 0; tag < most;) {
      tag = Math.max(tag, (await channel.expect("basic.ack")).deliveryTag);
    }
  }
  await peer.close();
}

/** Queues f0, f1 and so on, to which the fanout exchange "all" leads. @returns a channel */
export async function fanOut(
  siege: Siege,
  count: number,
  declaration: Record<string, unknown> = { durable: true },
): Promise<PeerChannel> {
  const peer = await siege.peer();
  const channel = await peer.open();
  await channel.call("exchange.declare", { exchange: "all", type: "fanout" });
  await peer.sendBytes(concat(
    Array.from({ length: count }, (_, n) => {
      const queue = `f${n}`;
      return [
        method(1, "queue.declare", { queue, noWait: true, ...declaration }),
        method(1, "queue.bind", { queue, exchange: "all", noWait: true }),
      ];
    }).flat(),
  ));
  await channel.call("queue.declare", { queue: "f0", passive: true });
  return channel;
}

/** Bytes of a delivery of one byte from a queue and to a consumer with names of one letter. */
const DELIVERY_BYTES = 58;

export async function receive(siege: Siege, attacker: Attacker, deliveries: number): Promise<void> {
  while (attacker.received < deliveries * DELIVERY_BYTES && !siege.isOver) await pause(20);
}

/** Somebody who holds so many deliveries of a queue, on one channel with transactions. */
export async function holder(siege: Siege, queue: string, count: number): Promise<Attacker> {
  const attacker = await siege.attacker();
  await attacker.send(
    method(1, "channel.open"),
    method(1, "tx.select"),
    method(1, "basic.consume", { queue, consumerTag: "c" }),
  );
  await receive(siege, attacker, count);
  return attacker;
}
