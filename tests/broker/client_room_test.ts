/** How many channels and consumers a broker takes, of all connections together. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { openPeer, type Peer, type PeerChannel } from "../support/protocol_peer.ts";
import { waitUntil } from "../support/wait.ts";
import { startHere } from "./harness.ts";

type Add = (peer: Peer, n: number) => Promise<PeerChannel>;

const openChannel: Add = async (peer, n) => {
  const channel = peer.channel(n);
  await channel.send("channel.open");
  return channel;
};

const consume: Add = async (peer, n) => {
  const channel = n === 1 ? await peer.open(1) : peer.channel(1);
  await channel.send("basic.consume", { queue: "q", consumerTag: `${n}` });
  return channel;
};

/** Adds until the broker refuses. @returns how many it took, and the connection, which has ended */
async function fill(port: number, add: Add): Promise<{ count: number; text: string }> {
  await using peer = await openPeer(port);
  const refusal = peer.channel(0).expect("connection.close");
  let isRefused = false;
  refusal.then(() => isRefused = true);
  for (let n = 1; n < 1_000; n++) {
    const channel = await add(peer, n);
    await Promise.race([channel.method().catch(() => {}), refusal]);
    if (!isRefused) continue;
    const { replyCode, replyText } = await refusal;
    assertEquals(replyCode, 530);
    return { count: n - 1, text: replyText };
  }
  throw new Error("nothing was refused");
}

Deno.test("more channels or consumers than memory has room for end their connection, and room comes back", async () => {
  await using broker = await startHere({ limits: { clientBytes: 100_000 } });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "q" });
  const rows: [add: Add, text: RegExp][] = [
    [openChannel, /^NOT_ALLOWED - cannot open channel \d+: the limit of 98 kB of memory for/],
    [consume, /^NOT_ALLOWED - cannot consume from queue 'q' in vhost '\/': the limit of 98 kB/],
  ];
  for (const [add, text] of rows) {
    const first = await fill(broker.port, add);
    assertMatch(first.text, text);
    assert(first.count > 20, `${first.count}`);
    await waitUntil("the end of the connection", () => broker.inside.sessions.size === 1);
    assertEquals((await fill(broker.port, add)).count, first.count);
    await waitUntil("the end of the connection", () => broker.inside.sessions.size === 1);
  }
});

Deno.test("channels and consumers give their room back, however they end", async () => {
  await using broker = await startHere({ limits: { clientBytes: 60_000 } });
  await using peer = await openPeer(broker.port);
  // Each end as often as would take all the room twice.
  for (let n = 0; n < 40; n++) {
    const channel = await peer.open(1);
    await channel.call("queue.declare", { queue: "q" });
    for (const consumerTag of ["canceled", "deleted"]) {
      await channel.call("basic.consume", { queue: "q", consumerTag });
    }
    await channel.call("basic.cancel", { consumerTag: "canceled" });
    await channel.send("queue.delete", { queue: "q" });
    await channel.expect("basic.cancel");
    await channel.expect("queue.delete-ok");
    await channel.call("queue.declare", { queue: "other" });
    await channel.call("basic.consume", { queue: "other" });
    if (n % 2 === 0) await channel.call("channel.close", { replyCode: 200 });
    else {
      await channel.send("queue.declare", { queue: "missing", passive: true });
      await channel.expect("channel.close");
      await channel.send("channel.close-ok");
    }
  }
});

Deno.test("where others have taken all room, a connection still gets some channels and consumers", async () => {
  await using broker = await startHere({ limits: { clientBytes: 30_000 } });
  await using greedy = await openPeer(broker.port);
  for (let id = 1; id <= 10; id++) await greedy.open(id);
  await using modest = await openPeer(broker.port);
  for (const id of [1, 2]) {
    const channel = await modest.open(id);
    const { queue } = await channel.call("queue.declare", {});
    await channel.call("basic.consume", { queue });
  }
});
