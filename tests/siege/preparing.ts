/** What several attacks begin with. */
import { concat, content, method } from "../broker/strangers.ts";
import type { PeerChannel } from "../support/protocol_peer.ts";
import type { Siege } from "./siege.ts";

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
