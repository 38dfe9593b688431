/** `worker dead` on queues that others have filled, use at the same time, or take away. */
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { declareQueue } from "../../src/amqp/declare.ts";
import { ToolError } from "../../src/errors.ts";
import { deadQueue } from "../../src/task/topology.ts";
import { DeadQueue } from "../../src/worker/dead.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import type { Peer, PeerChannel } from "../support/protocol_peer.ts";
import { spawn } from "../support/process.ts";
import { ScriptedServer } from "../support/scripted_server.ts";
import { uniqueName } from "../support/temp.ts";
import { toolCommand } from "../support/tools.ts";
import { waitUntil } from "../support/wait.ts";
import { connectorFor, QueueBench } from "./bench.ts";

const { url } = await sharedNode();

/** Puts tasks into the dead queue of a bench, as a foreign program does. */
async function fill(bench: QueueBench, ids: readonly (string | undefined)[]): Promise<string> {
  const queue = deadQueue(bench.name);
  await declareQueue(bench.transport, queue);
  const channel = await bench.transport.openChannel();
  await channel.confirmSelect();
  await Promise.all(ids.map((messageId, index) =>
    channel.basicPublish(
      "",
      queue.name,
      `body ${index + 1}`,
      messageId === undefined ? {} : { messageId },
    )
  ));
  await channel.close();
  return queue.name;
}

brokerTest("dead tasks without an id, or with odd ones, are shown by id or by match", async () => {
  await using bench = await QueueBench.open(url);
  const odd = "\x1b[2J\n";
  await fill(bench, ["same", "same", odd, undefined]);
  const show = (...args: string[]) => bench.dead("show", ...args);
  assertMatch(await show("same"), /\n\nbody 1\n----\n[^]*\n\nbody 2\n$/);
  assertMatch(await show("same", "--match", "^body 2$"), /^message_id[^]*\n\nbody 2\n$/);
  assertMatch(await show(odd), /^message_id: .u\{1b\}\[2J\n    \n[^]*\n\nbody 3\n$/);
  assertMatch(await show(""), /\n\nbody 4\n$/);
  assertEquals((await show()).match(/^body \d$/gm)?.sort(), [
    "body 1",
    "body 2",
    "body 3",
    "body 4",
  ]);
  await assertRejects(() => show("other"), Error, "exited with 69");
});

brokerTest("what was looked at is there at once for whoever comes next", async () => {
  await using bench = await QueueBench.open(url);
  const ids = Array.from({ length: 50 }, (_, index) => `id-${index}`);
  await fill(bench, ids);
  const other = await connectorFor(url).connect();
  for (let look = 1; look <= 8; look++) {
    // Each from another connection than the one before.
    const transport = look % 2 === 0 ? bench.transport : other;
    const seen = new Set<string>();
    await new DeadQueue(transport, bench.name).list({ max: 1_000 }, ({ id }) => void seen.add(id));
    assertEquals([look, seen.size], [look, ids.length]);
  }
  await other.shutdown();
});

brokerTest("dead tasks are lines of JSON for programs", async () => {
  await using bench = await QueueBench.open(url);
  const queue = deadQueue(bench.name);
  await declareQueue(bench.transport, queue);
  const headers = {
    "task-dead-reason": "rejected",
    "task-error": "no\x1b[2Jpicture",
    "task-exit-code": 65,
    "task-attempt": 2,
    big: 2n ** 60n,
  };
  await bench.send("text\u0085", { messageId: "a", type: "t", priority: 3, headers }, queue.name);
  await bench.send(Uint8Array.of(0xff, 0), {}, queue.name);
  const lines = async (action: string) => {
    await waitUntil("both to be back", async () => await bench.ready(queue.name) === 2);
    const text = await bench.dead(action, "--json");
    assertEquals(/[^\n\x20-\x7e]/.test(text), false, text);
    return text.trimEnd().split("\n").map((line) => JSON.parse(line))
      .sort((one, other) => other.bytes - one.bytes);
  };
  const facts = {
    ...{ id: "a", type: "t", reason: "rejected", error: "no\x1b[2Jpicture", exit_code: 65 },
    ...{ attempt: 2, bytes: 6 },
  };
  const [first, second] = await lines("ls");
  assertEquals([first, second], [facts, { id: second.id, bytes: 2 }]);
  const [text, bytes] = await lines("show");
  delete text.headers["x-delivery-count"]; // RabbitMQ has given it back
  delete bytes.headers["x-delivery-count"];
  assertEquals(text, {
    ...{ ...facts, priority: 3, delivery_mode: text.delivery_mode, body: "text\u0085" },
    headers: { ...headers, big: String(2n ** 60n) },
  });
  assertEquals([bytes.body_base64, bytes.headers, bytes.body], ["/wA=", {}, undefined]);
  await assertRejects(() => bench.dead("purge", "--json"), Error, "--json is for worker dead ls");
});

brokerTest("dead tasks are replayed and removed by exactly their ids", async () => {
  await using bench = await QueueBench.open(url);
  const queue = await fill(bench, ["order-1", "order-10", "x", "y", undefined]);
  await bench.send("about order-1", { messageId: "other" }, queue);
  const left = (count: number) =>
    waitUntil(`${count} to be left`, async () => await bench.ready(queue) === count);
  assertMatch(await bench.dead("replay", "order-1", "--dry-run"), /would replay 1\n$/);
  await left(6);
  assertMatch(await bench.dead("replay", "order-1", "y"), /replayed 2\n$/);
  await left(4);
  const replayed = [await bench.take(), await bench.take()];
  assertEquals(replayed.map((task) => task?.properties.messageId), ["order-1", "y"]);
  assertMatch(await bench.dead("purge", "order-10", ""), /removed 2\n$/);
  await left(2);
  for (const action of ["show", "replay", "purge"]) {
    await assertRejects(
      () => bench.dead(action, "order-1", "z"),
      Error,
      `a task to ${action} must be a dead one, and these are none: "order-1", "z"`,
    );
    await left(2);
  }
  await assertRejects(() => bench.dead("ls", "x"), Error, "takes no words");
  await assertRejects(() => bench.dead("purge", "x", "--match", "order"), Error, "--match selects");
});

brokerTest("a queue that never was has no dead tasks to look for: 69", async () => {
  const queue = uniqueName("never");
  const [command, ...args] = toolCommand("worker", ["dead", "ls", "--queue", queue]);
  await using process = spawn(command, { args, env: { AMQP_URL: url } });
  const { code, stdout, stderr } = await process.ended();
  assertEquals([code, stdout], [69, ""]);
  assertMatch(stderr, new RegExp(`there are no queues "${queue}" and "${queue}\\.dead"`));
});

/** Server: answers what opens a channel and looks at the dead queue, with one task in it. */
async function serveDeadQueue(peer: Peer): Promise<void> {
  await peer.acceptHandshake();
  const looking = peer.channel(1);
  await looking.expect("channel.open");
  await looking.send("channel.open-ok");
  const { queue } = await looking.expect("queue.declare");
  await looking.send("queue.declare-ok", { queue, messageCount: 1, consumerCount: 0 });
  await looking.expect("channel.close");
  await looking.send("channel.close-ok");
}

Deno.test("what a lost connection leaves in doubt is not said to be removed", async () => {
  await using server = new ScriptedServer(async (peer) => {
    await serveDeadQueue(peer);
    const channel = peer.channel(2);
    await channel.expect("channel.open");
    await channel.send("channel.open-ok");
    await channel.expect("basic.get");
    const envelope = { deliveryTag: 1, exchange: "", routingKey: "q.dead", messageCount: 0 };
    await channel.content("basic.get-ok", envelope, "x");
    await channel.expect("basic.ack");
    await channel.expect("channel.close");
  });
  const transport = await connectorFor(server.url).connect();
  const letters = new DeadQueue(transport, "q");
  const error = await assertRejects(() => letters.purge({ max: 9 }, () => {}, false), ToolError);
  assertEquals(error.exitCode, 75, error.message);
  await transport.shutdown();
});

Deno.test("a dead queue whose node is down is not an empty one", async () => {
  await using server = new ScriptedServer(async (peer) => {
    await peer.acceptHandshake();
    const channel = peer.channel(1);
    await channel.expect("channel.open");
    await channel.send("channel.open-ok");
    await channel.expect("queue.declare");
    const replyText = "NOT_FOUND - queue 'q.dead' in vhost '/' process is stopped by supervisor";
    await channel.send("channel.close", { replyCode: 404, replyText, classId: 50, methodId: 10 });
    await channel.expect("channel.close-ok");
    await peer.channel(0).expect("connection.close");
    await peer.channel(0).send("connection.close-ok");
  });
  const transport = await connectorFor(server.url).connect();
  const letters = new DeadQueue(transport, "q");
  const error = await assertRejects(() => letters.list({ max: 9 }, () => {}), ToolError);
  assertEquals(error.exitCode, 75, error.message);
  assertMatch(error.message, /"q.dead": .*stopped by supervisor/);
  await transport.shutdown();
});

brokerTest(
  "many dead tasks come back in their order, one that is refused ends it, and none is lost",
  async () => {
    await using bench = await QueueBench.open(url, {
      "x-queue-type": "classic",
      "x-max-length": 200,
      "x-overflow": "reject-publish",
    });
    const ids = Array.from({ length: 300 }, (_, i) => `task ${i}`);
    const queue = await fill(bench, ids);
    await assertRejects(() => bench.dead("replay", "--max", "1000"), Error, "exited with 75");
    const drain = async (name: string) => {
      const found: (string | undefined)[] = [];
      for (let task; (task = await bench.take(name)) !== undefined;) {
        found.push(task.properties.messageId);
      }
      return found;
    };
    const replayed = await drain(bench.name);
    assertEquals(replayed, ids.slice(0, 200));
    // RabbitMQ's quorum queues mix up what they are given back, in their own time.
    await bench.holds(100, queue);
    assertEquals((await drain(queue)).sort(), ids.slice(200));
    await fill(bench, ids);
    assertMatch(
      await bench.dead("replay", "--max", "150"),
      /^replayed task 0 [^]*replayed 150\n$/,
    );
    assertEquals(await drain(bench.name), ids.slice(0, 150));
    assertMatch(await bench.dead("purge", "--match", "task 2"), /removed 100\n$/);
    await bench.holds(50, queue);
    assertEquals((await drain(queue)).sort(), ids.slice(150, 200));
  },
);

Deno.test("a dead task is taken when its own copy is confirmed, while others are on their way", async () => {
  await using server = new ScriptedServer(async (peer) => {
    await peer.acceptHandshake();
    const settle = async (channel: PeerChannel) => {
      await channel.expect("channel.close");
      await channel.send("channel.close-ok");
    };
    const open = async (id: number) => {
      await peer.channel(id).expect("channel.open");
      await peer.channel(id).send("channel.open-ok");
      return peer.channel(id);
    };
    const declare = async (channel: PeerChannel, messageCount: number) => {
      const { queue } = await channel.expect("queue.declare");
      await channel.send("queue.declare-ok", { queue, messageCount, consumerCount: 0 });
    };
    const counting = await open(1);
    await declare(counting, 3);
    await settle(counting);
    const looking = await open(2);
    const give = async (deliveryTag: number) => {
      const envelope = { deliveryTag, exchange: "", routingKey: "q.dead", messageCount: 0 };
      await looking.content("basic.get-ok", envelope, `task ${deliveryTag}`);
    };
    for (const tag of [1, 2, 3]) {
      await looking.expect("basic.get");
      await give(tag);
    }
    const ensuring = await open(1);
    await declare(ensuring, 0);
    await settle(ensuring);
    const publishing = await open(3);
    await publishing.expect("confirm.select");
    await publishing.send("confirm.select-ok");
    for (const tag of [1, 2, 3]) {
      assertEquals((await publishing.expectContent("basic.publish")).text, `task ${tag}`);
    }
    await publishing.send("basic.ack", { deliveryTag: 2, multiple: false });
    assertEquals((await looking.expect("basic.ack")).deliveryTag, 2);
    await publishing.send("basic.nack", { deliveryTag: 1, multiple: false });
    await publishing.send("basic.ack", { deliveryTag: 3, multiple: false });
    assertEquals((await looking.expect("basic.ack")).deliveryTag, 3);
    await Promise.all([settle(publishing), settle(looking)]);
    await peer.channel(0).expect("connection.close");
    await peer.channel(0).send("connection.close-ok");
  });
  const transport = await connectorFor(server.url).connect();
  const told: string[] = [];
  const error = await assertRejects(() =>
    new DeadQueue(transport, "q").replay({
      ...{ max: 9, dryRun: false, maxReplays: 3, queueType: "classic" },
      onTask: ({ body }) => void told.push(new TextDecoder().decode(body)),
    }), ToolError);
  assertEquals(error.exitCode, 75, error.message);
  assertEquals(told, ["task 2", "task 3"]);
  await transport.shutdown();
});
