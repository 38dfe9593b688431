/** Publisher and Consumer against a broker. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { ensureWorkQueue, inspectQueue } from "../../src/amqp/declare.ts";
import { Publisher } from "../../src/amqp/publisher.ts";
import type { Transport } from "../../src/amqp/transport.ts";
import {
  ChannelError,
  ConnectionError,
  EXIT,
  InDoubtError,
  NackError,
  TaskError,
} from "../../src/errors.ts";
import { brokerKind, brokerTest, sharedNode } from "../support/broker.ts";
import { openPeer } from "../support/protocol_peer.ts";
import { uniqueName } from "../support/temp.ts";
import { waitUntil, within } from "../support/wait.ts";
import { open, policy, task, TestConsumer, toolError } from "./harness.ts";

const node = await sharedNode();

/** A queue of this test, gone with the connection that declared it. */
async function temporaryQueue(
  transport: Transport,
  args: Record<string, string | number> = {},
): Promise<string> {
  const name = uniqueName("amqp");
  const channel = await transport.openChannel();
  await channel.queueDeclare(name, { exclusive: true }, args);
  return name;
}

async function deleteQueue(transport: Transport, name: string): Promise<void> {
  await (await transport.openChannel()).queueDelete(name);
}

brokerTest(
  "tasks of every size, published in one turn, arrive whole, and no buffer of theirs is kept",
  async () => {
    await using connection = await open(`${node.url}?heartbeat=5`);
    const { transport } = connection;
    const product = brokerKind === "rabbitmq" ? "RabbitMQ" : "workqueue broker";
    assertEquals(transport.server.product, product);
    const name = uniqueName("amqp");
    await using consumer = new TestConsumer(node.url, policy(name), { prefetch: 100 });
    await consumer.ready.next();
    const publisher = await Publisher.open(transport);
    const bodies = [0, 1, 4087, 4096, 4097, 16_384, 131_064, 131_065, 1_000_000].map((size, i) =>
      new Uint8Array(size).fill(i + 1)
    );
    const headers = { pad: "h".repeat(20_000) };
    await Promise.all(bodies.flatMap((body, i) => [
      publisher.publish(task(name, body, { messageId: `plain ${i}` })),
      publisher.publish(
        task(name, body, { messageId: `headers ${i}`, headers: { ...headers, i } }),
      ),
    ]));
    const deliveries = await consumer.deliveries.take(2 * bodies.length);
    for (const [i, { bytes, task }] of deliveries.entries()) {
      const body = bodies[i >> 1]!;
      assertEquals(bytes, body.length + task.receivedProperties!.length);
      assertEquals(task.id, `${i % 2 === 0 ? "plain" : "headers"} ${i >> 1}`);
      assertEquals([task.body.length, task.body.every((byte) => byte === (i >> 1) + 1)], [
        body.length,
        true,
      ]);
      if (i % 2 === 1) assertEquals(task.properties.headers, { ...headers, i: i >> 1 });
    }
    for (const delivery of deliveries) assertEquals(delivery.ack(), true);
    const { bufferPool } = transport as unknown as { bufferPool: unknown[] };
    assertEquals([bufferPool, publisher.pending], [[], 0]);
    await consumer.consumer.close();
    await consumer.done;
    assertEquals((await inspectQueue(transport, name)).messageCount, 0);
    await deleteQueue(transport, name);
  },
);

brokerTest(
  "of many tasks in flight exactly the unroutable ones fail, with ids and without",
  async () => {
    await using connection = await open(node.url);
    const { transport } = connection;
    const name = await temporaryQueue(transport);
    const publisher = await Publisher.open(transport);
    const outcomes = await Promise.allSettled(Array.from({ length: 600 }, (_, i) => {
      const key = i % 3 === 0 ? `${name}.missing` : name;
      const ids = [{}, { messageId: `${i}` }, { messageId: "all the same" }];
      return publisher.publish(task(key, "x", ids[Math.floor(i / 3) % 3]));
    }));
    for (const [i, outcome] of outcomes.entries()) {
      assertEquals(outcome.status, i % 3 === 0 ? "rejected" : "fulfilled", `task ${i}`);
      if (outcome.status === "fulfilled") continue;
      assert(outcome.reason instanceof TaskError);
      assertEquals(outcome.reason.exitCode, EXIT.unavailable);
      assertStringIncludes(outcome.reason.message, `there is no queue "${name}.missing"`);
    }
    assertEquals((await inspectQueue(transport, name)).messageCount, 400);
  },
);

brokerTest(
  "a full queue that rejects publications is reported, and the publisher goes on",
  async () => {
    await using connection = await open(node.url);
    const { transport } = connection;
    const args = { "x-max-length": 1, "x-overflow": "reject-publish" };
    const [full, other] = [await temporaryQueue(transport, args), await temporaryQueue(transport)];
    const publisher = await Publisher.open(transport);
    await publisher.publish(task(full));
    const error = await toolError(publisher.publish(task(full)));
    assertEquals([error.constructor, error.exitCode], [NackError, EXIT.temporary]);
    assertStringIncludes(error.message, "basic.nack");
    await publisher.publish(task(other));
  },
);

brokerTest("a missing exchange ends the publisher's channel and nothing else", async () => {
  await using connection = await open(node.url);
  const { transport } = connection;
  const name = await temporaryQueue(transport);
  const [bad, good] = [await Publisher.open(transport), await Publisher.open(transport)];
  const lost = [bad.publish({ ...task(name), exchange: "no.such" }), bad.publish(task(name))];
  const errors = await Promise.all(lost.map((promise) => toolError(promise)));
  for (const error of errors) {
    assertEquals(error.exitCode, EXIT.unavailable);
    assertStringIncludes(error.message, "no exchange 'no.such'");
  }
  // The second one, which there was nothing against, may be on the queue.
  assertEquals(errors.map((error) => error.constructor), [ChannelError, InDoubtError]);
  await toolError(bad.publish(task(name)));
  await good.publish(task(name));
});

brokerTest(
  "a queue deleted under its consumer is declared again and consumed",
  async () => {
    const name = uniqueName("amqp");
    await using connection = await open(node.url);
    await using consumer = new TestConsumer(node.url, policy(name, "quorum"));
    await consumer.ready.next();
    await deleteQueue(connection.transport, name);
    assertStringIncludes(await consumer.log.lines.next(), "cancelled the consumer of the queue");
    await consumer.ready.next();
    const publisher = await Publisher.open(connection.transport);
    await publisher.publish(task(name, "again"));
    assertEquals((await consumer.deliveries.next()).ack(), true);
    await deleteQueue(connection.transport, name);
  },
);

brokerTest(
  "an exclusive queue of somebody else is refused with the broker's words, not retried",
  async () => {
    await using peer = await openPeer(node.port);
    const channel = await peer.open();
    const queue = uniqueName("amqp");
    await channel.call("queue.declare", { queue, exclusive: true });
    await using consumer = new TestConsumer(node.url, policy(queue));
    const error = await toolError(consumer.done);
    assertEquals([error.constructor, error.exitCode], [ChannelError, EXIT.temporary]);
    assertStringIncludes(error.message, `cannot use the queue "${queue}": RESOURCE_LOCKED`);
    await peer.close();
  },
);

brokerTest(
  "a queue that exists is used as it is; one of another type only when nobody insists",
  async () => {
    await using connection = await open(node.url);
    const { transport } = connection;
    const name = uniqueName("amqp");
    const channel = await transport.openChannel();
    await channel.queueDeclare(name, { durable: true }, { "x-max-priority": 5 });
    await ensureWorkQueue(transport, policy(name, "quorum"));
    await ensureWorkQueue(transport, { ...policy(name, "classic"), strict: true });
    await channel.queueDelete(name);
    await ensureWorkQueue(transport, policy(name, "classic"));
    const error = await toolError(
      ensureWorkQueue(transport, { ...policy(name, "quorum"), strict: true }),
    );
    assertEquals(error.exitCode, EXIT.conflict);
    assertStringIncludes(error.message, "must be of the type quorum");
    await channel.queueDelete(name);
    const missing = await toolError(ensureWorkQueue(transport, { ...policy(name), create: false }));
    assertEquals(missing.exitCode, EXIT.unavailable);
    const states = await Promise.all(
      [1, 2, 3].map(() => ensureWorkQueue(transport, policy(name, "quorum"))),
    );
    assertEquals(states.map((state) => state.messageCount), [0, 0, 0]);
    await channel.queueDelete(name);
  },
);

brokerTest(
  "a login, a vhost or a permission that is refused is for good, each with its reason",
  async () => {
    const cases: [string, string][] = [
      [node.url.replace("guest:guest", "guest:wrong"), "ACCESS_REFUSED"],
      [node.url.replace("guest:guest", `nobody:${"x".repeat(3000)}`), "ACCESS_REFUSED"],
      [`${node.url}no%2Fvhost`, "vhost no/vhost not found"],
    ];
    await Promise.all(cases.map(async ([url, sentence]) => {
      const error = await toolError(open(url));
      assertStringIncludes(error.message, sentence);
      assertEquals([error.exitCode, "fatal" in error && error.fatal], [EXIT.noPermission, true]);
      assert(!error.message.includes("wrong") && !error.message.includes("xxx"), error.message);
    }));
  },
);

brokerTest(
  "a stopped consumer settles what it has, gives back what was on its way, then ends",
  async () => {
    await using connection = await open(node.url);
    const { transport } = connection;
    const name = uniqueName("amqp");
    await ensureWorkQueue(transport, policy(name));
    const publisher = await Publisher.open(transport);
    await Promise.all(Array.from({ length: 20 }, (_, i) => publisher.publish(task(name, `${i}`))));
    await using consumer = new TestConsumer(node.url, policy(name), { prefetch: 5 });
    const [first, ...rest] = await consumer.deliveries.take(5);
    await consumer.consumer.stop();
    assertEquals(first!.ack(), true);
    for (const delivery of rest.slice(0, 2)) assertEquals(delivery.ack(), true);
    for (const delivery of rest.slice(2)) assertEquals(delivery.release(), true);
    await consumer.consumer.close();
    await within("the consumer to end", consumer.done);
    assertEquals(first!.live, false);
    await waitUntil(
      "17 tasks to be ready again",
      async () => (await inspectQueue(transport, name)).messageCount === 17,
    );
    assertEquals(consumer.deliveries.waiting, []);
    await deleteQueue(transport, name);
  },
);

brokerTest(
  "a consumer stopped before, while and after it connects ends, and leaves nothing taken",
  async () => {
    await using connection = await open(node.url);
    const { transport } = connection;
    const name = uniqueName("amqp");
    await ensureWorkQueue(transport, policy(name));
    const publisher = await Publisher.open(transport);
    for (let i = 0; i < 3; i++) await publisher.publish(task(name));
    const stops = Array.from({ length: 12 }, async (_, i) => {
      await using consumer = new TestConsumer(node.url, policy(name));
      // At another point of the start each time.
      for (let turn = 0; turn < i; turn++) await new Promise((resolve) => setTimeout(resolve, 2));
      await consumer.consumer.close();
      await within("the consumer to end", consumer.done);
    });
    await Promise.all(stops);
    await waitUntil(
      "all tasks to be ready again",
      async () => (await inspectQueue(transport, name)).messageCount === 3,
    );
    await deleteQueue(transport, name);
  },
);

brokerTest(
  "no rejection is left unhandled when a connection dies with everything in flight",
  async () => {
    const unhandled: unknown[] = [];
    function onUnhandled(event: PromiseRejectionEvent): void {
      event.preventDefault();
      unhandled.push(event.reason);
    }
    globalThis.addEventListener("unhandledrejection", onUnhandled);
    try {
      const { transport } = await open(node.url);
      const name = await temporaryQueue(transport);
      const publisher = await Publisher.open(transport);
      const lost = Array.from({ length: 50 }, () => toolError(publisher.publish(task(name))));
      const requests = [
        toolError(transport.openChannel()),
        toolError(inspectQueue(transport, name)),
      ];
      transport.destroy(
        new ConnectionError("ended by the test"),
      );
      for (const error of await Promise.all(requests)) {
        assertEquals(error.message, "ended by the test");
      }
      for (const error of await Promise.all(lost)) {
        assertEquals(error.message, "ended by the test; the task may be on the queue or not");
      }
      await new Promise((resolve) => setTimeout(resolve));
    } finally {
      globalThis.removeEventListener("unhandledrejection", onUnhandled);
    }
    assertEquals(unhandled, []);
  },
);

brokerTest("what a publisher asks for before its first task leaves in one packet", async () => {
  const packets: number[] = [];
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const counting = countPackets(listener, packets);
  {
    await using connection = await open(node.url.replace(/:\d+\//, `:${listener.addr.port}/`));
    const { transport } = connection;
    const channel = await transport.openChannel();
    const { name } = await channel.queueDeclare("", { exclusive: true });
    packets.length = 0;
    await Publisher.open(transport, { queue: name });
    assertEquals(packets.length, 1, `${packets}`);
  }
  await within("the end of the connection", counting);
});

/** Hands one connection on to the broker. @param packets the size of each thing that the client sent */
async function countPackets(listener: Deno.TcpListener, packets: number[]): Promise<void> {
  const client = await listener.accept();
  const server = await Deno.connect({ hostname: "127.0.0.1", port: node.port });
  const counter = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
    transform(bytes, controller) {
      packets.push(bytes.length);
      controller.enqueue(bytes);
    },
  });
  await Promise.allSettled([
    client.readable.pipeThrough(counter).pipeTo(server.writable),
    server.readable.pipeTo(client.writable),
  ]);
}
