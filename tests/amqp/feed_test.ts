import { assertEquals } from "@std/assert";
import { Feed, type Numbered } from "../../src/amqp/feed.ts";
import type { Supply } from "../../src/amqp/supply.ts";
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

function tasks(...names: readonly string[]): Supply<Numbered> {
  const left = names.map((name, i) => {
    const body = new TextEncoder().encode(name);
    const properties = { messageId: name };
    return { number: i + 1, task: { exchange: "", routingKey: "q", body, properties } };
  });
  return { next: () => left.shift(), close: () => {} };
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

Deno.test("one that is refused and still being taken is not sent again with the others", async () => {
  const oddity = {
    replyCode: 406,
    replyText: "message size 3 is larger than configured max size 2",
    classId: 60,
    methodId: 40,
  };
  const again = Promise.withResolvers<void>();
  const play = async (peer: Peer, onAgain = () => {}): Promise<string> => {
    await peer.acceptHandshake();
    const first = await openPublisher(peer);
    await first.expectContent("basic.publish");
    await first.expectContent("basic.publish");
    await first.send("channel.close", oddity);
    await first.expect("channel.close-ok");
    const second = await openPublisher(peer);
    const { text } = await second.expectContent("basic.publish");
    onAgain();
    await second.send("basic.ack", { deliveryTag: 1, multiple: true });
    await peer.channel(0).expect("connection.close");
    await peer.channel(0).send("connection.close-ok");
    return text;
  };
  await using other = new ScriptedServer(async (peer) => void await play(peer));
  const sent: string[] = [];
  await using server = new ScriptedServer(async (peer) => {
    sent.push(await play(peer, again.resolve));
  });
  const feedTo = (url: string, onRefused: () => Promise<void>) =>
    new Feed({ connector: connectorFor(url), patience: 60_000, onRefused })
      .send(tasks("big", "b"));
  const { random } = Math;
  Math.random = () => 0; // no pause before the next channel
  let refusals = 0;
  try {
    await within(
      "all to be settled",
      feedTo(server.url, async () => {
        refusals++;
        // As long as a whole other feed that goes the same way.
        await Promise.race([again.promise, feedTo(other.url, () => Promise.resolve())]);
      }),
    );
  } finally {
    Math.random = random;
  }
  assertEquals([refusals, sent], [1, ["b"]]);
});
