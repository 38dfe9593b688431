import { assertEquals } from "@std/assert";
import { Feed, type Numbered } from "../../src/amqp/feed.ts";
import type { Peer, PeerChannel } from "../support/protocol_peer.ts";
import { ScriptedServer } from "../support/scripted_server.ts";
import { within } from "../support/wait.ts";
import { connectorFor } from "../worker/bench.ts";

async function openPublisher(peer: Peer): Promise<PeerChannel> {
  const channel = peer.channel(1);
  await channel.expect("channel.open");
  await channel.send("channel.open-ok");
  await channel.expect("confirm.select");
  await channel.send("confirm.select-ok");
  return channel;
}

async function* tasks(...names: readonly string[]): AsyncGenerator<Numbered> {
  for (const [i, name] of names.entries()) {
    const body = new TextEncoder().encode(name);
    const properties = { messageId: name };
    yield { number: i + 1, task: { exchange: "", routingKey: "q", body, properties } };
  }
}

Deno.test("of many on their way, the one that the broker closes the channel for is refused alone", async () => {
  const oddity = { replyCode: 406, replyText: "an odd header", classId: 60, methodId: 40 };
  await using server = new ScriptedServer(async (peer: Peer) => {
    await peer.acceptHandshake();
    const expect = async (count: number) => {
      for (let i = 0; i < count; i++) await channel.expectContent("basic.publish");
    };
    const refuse = async () => {
      await channel.send("channel.close", oddity);
      await channel.expect("channel.close-ok");
    };
    let channel = await openPublisher(peer);
    await expect(4);
    await refuse();
    // Which of them it is shows when each is sent alone.
    channel = await openPublisher(peer);
    await expect(1);
    await channel.send("basic.ack", { deliveryTag: 1 });
    await expect(1);
    await refuse();
    channel = await openPublisher(peer);
    for (const deliveryTag of [1, 2]) {
      await expect(1);
      await channel.send("basic.ack", { deliveryTag });
    }
    await peer.channel(0).expect("connection.close");
    await peer.channel(0).send("connection.close-ok");
  });
  const refused: number[] = [];
  const feed = new Feed({
    connector: connectorFor(server.url),
    patience: 60_000,
    onRefused: ({ number }) => Promise.resolve(void refused.push(number)),
  });
  await within("all to be settled", feed.send(tasks("a", "odd", "c", "d")));
  assertEquals([refused, feed.confirmed], [[2], 3]);
});
