import { assertEquals, assertRejects } from "@std/assert";
import { ToolError } from "../../src/errors.ts";
import { createLogger } from "../../src/observe/log.ts";
import { deadQueue } from "../../src/task/topology.ts";
import { Copier } from "../../src/worker/copier.ts";
import type { Peer, PeerChannel } from "../support/protocol_peer.ts";
import { ScriptedServer } from "../support/scripted_server.ts";
import { within } from "../support/wait.ts";
import { connectorFor } from "./bench.ts";

/** Server: says that the queue is there, on a channel for this question. */
async function answerDeclaration(channel: PeerChannel): Promise<void> {
  await channel.expect("channel.open");
  await channel.send("channel.open-ok");
  const { queue } = await channel.expect("queue.declare");
  await channel.send("queue.declare-ok", { queue, messageCount: 0, consumerCount: 0 });
  await channel.expect("channel.close");
  await channel.send("channel.close-ok");
}

/** Server: whatever the client has sent until now is there. */
async function hearAll(peer: Peer): Promise<void> {
  const other = peer.channel(7);
  await other.send("channel.close", { replyCode: 200, replyText: "", classId: 0, methodId: 0 });
  await other.expect("channel.close-ok");
}

Deno.test("while the broker blocks, a copy for a new queue asks nothing that is not answered", async () => {
  const asked = Promise.withResolvers<void>();
  await using server = new ScriptedServer(async (peer: Peer) => {
    await peer.acceptHandshake();
    const publisher = peer.channel(1);
    await publisher.expect("channel.open");
    await publisher.send("channel.open-ok");
    await publisher.expect("confirm.select");
    await publisher.send("confirm.select-ok");
    await answerDeclaration(peer.channel(2));
    await publisher.expectContent("basic.publish");
    await peer.channel(0).send("connection.blocked", { reason: "low on memory" });
    await publisher.send("basic.ack", { deliveryTag: 1 });
    await asked.promise;
    await hearAll(peer);
    assertEquals([peer.channel(2).unread, peer.channel(3).unread], [0, 0]);
    await peer.channel(0).send("connection.unblocked");
    await answerDeclaration(peer.channel(2));
    await publisher.expectContent("basic.publish");
    await publisher.send("basic.ack", { deliveryTag: 2 });
    await peer.channel(0).expect("connection.close");
    await peer.channel(0).send("connection.close-ok");
  });
  const log = createLogger({ name: "test", write: () => {} });
  const copier = new Copier({ connector: connectorFor(server.url), log });
  const never = new AbortController().signal;
  const copyTo = (queue: string) =>
    copier.publish(deadQueue(queue), new Uint8Array(), { messageId: queue }, never);
  await within("the first copy", copyTo("one"));
  const second = copyTo("two");
  asked.resolve();
  await within("the second copy", second);
  await copier.close();
});

Deno.test("while the broker blocks, nobody waits for starts, which are written down behind that", async () => {
  const [uncounted, left, over] = [0, 1, 2].map(() => Promise.withResolvers<void>());
  await using server = new ScriptedServer(async (peer: Peer) => {
    const block = () => peer.channel(0).send("connection.blocked", { reason: "low on memory" });
    const unblock = () => peer.channel(0).send("connection.unblocked");
    const [publisher, asking] = [peer.channel(1), peer.channel(2)];
    await peer.acceptHandshake();
    await block();
    await publisher.expect("channel.open");
    await uncounted!.promise;
    await unblock();
    await publisher.send("channel.open-ok");
    await publisher.expect("confirm.select");
    await publisher.send("confirm.select-ok");
    await answerDeclaration(asking);
    await publisher.expectContent("basic.publish");
    await publisher.send("basic.ack", { deliveryTag: 1 });
    await answerDeclaration(asking);
    await publisher.expectContent("basic.publish");
    await block();
    await left!.promise;
    await unblock();
    await hearAll(peer);
    assertEquals([publisher.unread, asking.unread], [0, 0], "the queue goes behind its message");
    await publisher.send("basic.ack", { deliveryTag: 2 });
    await asking.expect("channel.open");
    await asking.send("channel.open-ok");
    assertEquals((await asking.expect("queue.delete")).queue, "starts");
    await asking.send("queue.delete-ok", { messageCount: 1 });
    await asking.expect("channel.close");
    await asking.send("channel.close-ok");
    over!.resolve();
    await peer.channel(0).expect("connection.close");
    await peer.channel(0).send("connection.close-ok");
  });
  const log = createLogger({ name: "test", write: () => {} });
  const copier = new Copier({ connector: connectorFor(server.url), log });
  const starts = { name: "starts", arguments: {} };
  const unwaited = (act: () => Promise<unknown>) =>
    assertRejects(() => within("an answer", act()), ToolError, "the broker blocks publishers");
  await unwaited(() => copier.count(starts));
  uncounted!.resolve();
  const never = new AbortController().signal;
  await copier.publish(deadQueue("one"), new Uint8Array(), { messageId: "one" }, never);
  assertEquals(await within("the count", copier.count(starts)), 0);
  await unwaited(() => copier.note(starts));
  await unwaited(() => copier.count(starts));
  await unwaited(() => copier.remove(starts));
  left!.resolve();
  await within("the end", over!.promise);
  await copier.close();
});
