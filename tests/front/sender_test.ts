import { assertRejects } from "@std/assert";
import { ToolError } from "../../src/errors.ts";
import { Sender } from "../../src/front/sender.ts";
import type { PeerChannel } from "../support/protocol_peer.ts";
import { ScriptedServer } from "../support/scripted_server.ts";
import { within } from "../support/wait.ts";
import { connectorFor } from "../worker/bench.ts";

/** Server: opens a channel that publishes and takes answers. */
async function openPublisher(channel: PeerChannel): Promise<void> {
  await channel.send("channel.open-ok");
  await channel.expect("confirm.select");
  await channel.send("confirm.select-ok");
  await channel.expect("basic.consume");
  await channel.send("basic.consume-ok", { consumerTag: "answers" });
}

Deno.test("a large task that is given up before it has its channel leaves none open", async () => {
  const opening = Promise.withResolvers<void>();
  const over = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  await using server = new ScriptedServer(async (peer) => {
    await peer.acceptHandshake();
    await peer.channel(1).expect("channel.open");
    await openPublisher(peer.channel(1));
    const other = peer.channel(2);
    await other.expect("channel.open");
    await other.send("channel.open-ok");
    const { queue } = await other.expect("queue.declare");
    await other.send("queue.declare-ok", { queue, messageCount: 0, consumerCount: 0 });
    await other.expect("channel.close");
    await other.send("channel.close-ok");
    const own = peer.channel(3);
    await own.expect("channel.open");
    opening.resolve();
    await over.promise;
    await openPublisher(own);
    await own.expect("channel.close");
    await own.send("channel.close-ok");
    closed.resolve();
    await peer.channel(0).expect("connection.close");
    await peer.channel(0).send("connection.close-ok");
  });
  const sender = new Sender({
    connector: connectorFor(server.url),
    timeoutMs: 60_000,
    most: { tasks: 1, bytes: 1_000_000 },
    onAnswer: () => {},
  });
  const end = new AbortController();
  const publication = {
    exchange: "",
    routingKey: "q",
    body: new Uint8Array(100_000),
    properties: { messageId: "large" },
  };
  const task = {
    publication,
    queue: { name: "q", type: "quorum", create: false, strict: false } as const,
  };
  const sent = assertRejects(() => sender.send(task, end.signal, () => {}), ToolError, "given up");
  await within("its channel", opening.promise);
  end.abort();
  await sent;
  over.resolve();
  await within("the end of its channel", closed.promise);
  await within("the end", sender.close());
});
