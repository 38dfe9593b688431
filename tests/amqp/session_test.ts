/** An open connection to a server that does odd, wrong or hostile things. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { OUR_BROKER } from "../../src/amqp/protocol.ts";
import { Publisher } from "../../src/amqp/publisher.ts";
import { Transport } from "../../src/amqp/transport.ts";
import {
  ChannelError,
  ConnectionError,
  EXIT,
  InDoubtError,
  NackError,
  TaskError,
  ToolError,
} from "../../src/errors.ts";
import { type Arguments, encodeHeader, encodeMethod, FRAME } from "../support/methods.ts";
import type { Peer, PeerChannel } from "../support/protocol_peer.ts";
import { Random } from "../support/random.ts";
import { ScriptedServer } from "../support/scripted_server.ts";
import { Mailbox, STEP_MS, within } from "../support/wait.ts";
import { Typed } from "../support/wire.ts";
import { endpointOf, IDENTITY, open, policy, task, TestConsumer, toolError } from "./harness.ts";

const TEXT = new TextEncoder();

/** Server: lets a consumer of ours look at its queue and consume; gives the channel it consumes on. */
async function acceptConsumer(
  peer: Peer,
  look: (qos: Arguments, consume: Arguments) => void = () => {},
  ms?: number,
): Promise<PeerChannel> {
  await peer.acceptHandshake();
  const first = peer.channel(1);
  await first.expect("channel.open", ms);
  await first.send("channel.open-ok");
  const { queue } = await first.expect("queue.declare", ms);
  await first.send("queue.declare-ok", { queue, messageCount: 1 });
  // The throw-away channel closes while the next one opens.
  await first.expect("channel.close", ms);
  const second = peer.channel(2);
  await second.expect("channel.open", ms);
  await first.send("channel.close-ok");
  await second.send("channel.open-ok");
  const qos = await second.expect("basic.qos", ms);
  await second.send("basic.qos-ok");
  look(qos, await second.expect("basic.consume", ms));
  await second.send("basic.consume-ok", { consumerTag: "c" });
  return second;
}

/** Server: lets a publisher of ours open its channel. */
async function acceptPublisher(peer: Peer, ms?: number): Promise<PeerChannel> {
  await peer.acceptHandshake();
  const channel = peer.channel(1);
  await channel.expect("channel.open", ms);
  await channel.send("channel.open-ok");
  await channel.expect("confirm.select", ms);
  await channel.send("confirm.select-ok");
  return channel;
}

/** Server: does what a client of ours asks for when it leaves, until it has left. */
async function letGo(peer: Peer, channel?: PeerChannel): Promise<void> {
  async function onChannel(): Promise<void> {
    for (;;) {
      const { name, args } = await channel!.method(60_000);
      if (name !== "basic.cancel") continue;
      await channel!.send("basic.cancel-ok", { consumerTag: args.consumerTag });
    }
  }
  if (channel !== undefined) onChannel().catch(() => {}); // ends with the connection
  await peer.channel(0).expect("connection.close", 60_000);
  await peer.channel(0).send("connection.close-ok");
}

const DELIVER = { consumerTag: "c", deliveryTag: 1, routingKey: "q" };

/** What a consumer is told when its first connection is treated like this; the second one is sane. */
async function consumerSees(
  play: (peer: Peer, channel: PeerChannel) => Promise<unknown>,
): Promise<string> {
  await using server = new ScriptedServer(async (peer, connection) => {
    const channel = await acceptConsumer(peer);
    if (connection > 1) {
      await channel.content("basic.deliver", DELIVER, "sane");
      await letGo(peer, channel);
    }
    await play(peer, channel);
    await peer.ended();
  });
  await using consumer = new TestConsumer(server.url, policy("q"), { random: () => 0 });
  const line = await consumer.log.lines.next();
  // It has recovered: a task comes through on the next connection.
  let delivery = await consumer.deliveries.next();
  while (new TextDecoder().decode(delivery.task.body) !== "sane") {
    delivery = await consumer.deliveries.next();
  }
  assertEquals(delivery.live, true);
  return line;
}

Deno.test("a consumer survives whatever its broker does wrong, says why, and starts again", async () => {
  const cases: [string, (peer: Peer, channel: PeerChannel) => Promise<unknown>][] = [
    [
      "the broker cancelled the consumer",
      (_, channel) => channel.send("basic.cancel", { consumerTag: "c", noWait: true }),
    ],
    [
      "the broker closed the channel: PRECONDITION_FAILED - x (406)",
      (_, channel) =>
        channel.send("channel.close", { replyCode: 406, replyText: "PRECONDITION_FAILED - x" }),
    ],
    [
      "the broker closed the connection to",
      (peer) =>
        peer.channel(0).send("connection.close", {
          replyCode: 320,
          replyText: "CONNECTION_FORCED - bye",
        }),
    ],
    ["was lost: ", (peer) => Promise.resolve(peer.cut())],
    ["a body of 5 bytes was announced, and at least 6 arrived", async (peer, channel) => {
      await channel.send("basic.deliver", DELIVER);
      await peer.sendFrame(FRAME.header, channel.id, encodeHeader(5));
      await peer.sendFrame(FRAME.body, channel.id, TEXT.encode("123456"));
    }],
    ["a body of 5 bytes was announced, and ended after 2", async (peer, channel) => {
      await channel.send("basic.deliver", DELIVER);
      await peer.sendFrame(FRAME.header, channel.id, encodeHeader(5));
      await peer.sendFrame(FRAME.body, channel.id, TEXT.encode("12"));
      await channel.send("basic.deliver", DELIVER);
    }],
    ["a content header must follow its method, and did not come", async (_, channel) => {
      await channel.send("basic.deliver", DELIVER);
      await channel.send("basic.deliver", DELIVER);
    }],
    [
      "a content header must follow its method, and came alone",
      (peer, channel) => peer.sendFrame(FRAME.header, channel.id, encodeHeader(5)),
    ],
    ["a content header must follow its method, and came alone", async (peer, channel) => {
      await channel.send("basic.deliver", DELIVER);
      await peer.sendFrame(FRAME.header, channel.id, encodeHeader(5));
      await peer.sendFrame(FRAME.header, channel.id, encodeHeader(5));
    }],
    // The body holds a whole frame: it must not be taken for one.
    [
      "a body frame must follow its content header, and came alone",
      (peer, channel) =>
        peer.sendFrame(FRAME.body, channel.id, encodeMethod("channel.close", { replyCode: 1 })),
    ],
    ["a body must be at most 536870912 bytes", async (peer, channel) => {
      await channel.send("basic.deliver", DELIVER);
      await peer.sendFrame(FRAME.header, channel.id, encodeHeader(2 ** 40));
    }],
    [
      "a frame must be at most 131072 bytes",
      (peer) => peer.sendBytes(Uint8Array.of(3, 0, 1, 1, 0, 0, 0)),
    ],
    [
      "a frame cannot be read",
      (peer, channel) =>
        peer.sendFrame(
          FRAME.method,
          channel.id,
          encodeMethod("basic.deliver", DELIVER).subarray(0, 8),
        ),
    ],
    [
      "the method 60.255 came out of turn",
      (peer, channel) =>
        peer.sendFrame(FRAME.method, channel.id, Uint8Array.of(0, 60, 0, 255, 1, 2, 3)),
    ],
    ["the method 60.40 came out of turn", (_, channel) => channel.send("basic.publish", {})],
    ["the method 20.41 came out of turn", (_, channel) => channel.send("channel.close-ok")],
    ["the method 10.51 came out of turn", (peer) => peer.channel(0).send("connection.close-ok")],
    [
      "the method 10.30 came out of turn",
      (peer) => peer.channel(0).send("connection.tune", { heartbeat: 1 }),
    ],
  ];
  await Promise.all(cases.map(async ([sentence, play]) => {
    const line = await consumerSees(play);
    assertStringIncludes(line, sentence);
    assertStringIncludes(line, "trying again in");
  }));
});

Deno.test("what is odd but harmless changes nothing: unknown channels, heartbeats, empty body frames", async () => {
  await using server = new ScriptedServer(async (peer) => {
    const channel = await acceptConsumer(peer);
    await peer.sendHeartbeat();
    await peer.channel(77).send("channel.open-ok");
    await peer.channel(77).send("basic.cancel", { consumerTag: "c", noWait: true });
    await peer.channel(77).content("basic.deliver", DELIVER, "for nobody");
    await channel.send("basic.deliver", DELIVER);
    await peer.sendFrame(FRAME.header, channel.id, encodeHeader(5, { messageId: "m" }));
    await peer.sendHeartbeat();
    for (const part of ["", "he", "", "llo"]) {
      await peer.sendFrame(FRAME.body, channel.id, TEXT.encode(part));
    }
    assertEquals((await channel.expect("basic.ack")).deliveryTag, 1);
    await letGo(peer, channel);
  });
  await using consumer = new TestConsumer(server.url, policy("q"));
  const delivery = await consumer.deliveries.next();
  assertEquals([new TextDecoder().decode(delivery.task.body), delivery.task.id], ["hello", "m"]);
  delivery.ack();
  assertEquals(consumer.log.lines.waiting, []);
});

Deno.test("a task with a field of an unknown type is delivered with its body and its id", async () => {
  await using server = new ScriptedServer(async (peer) => {
    const channel = await acceptConsumer(peer);
    await channel.content("basic.deliver", DELIVER, "body", {
      messageId: "odd",
      headers: { before: 1, odd: new Typed("Z", null) },
    });
    await channel.content("basic.deliver", { ...DELIVER, deliveryTag: 2 }, "next", {
      messageId: "n",
    });
    await letGo(peer, channel);
  });
  await using consumer = new TestConsumer(server.url, policy("q"));
  const [odd, next] = await consumer.deliveries.take(2);
  assertEquals([odd!.task.id, new TextDecoder().decode(odd!.task.body)], ["odd", "body"]);
  assertEquals(odd!.task.properties.headers, {});
  assertEquals(next!.task.id, "n");
});

Deno.test("a consumer asks for bounded deliveries that it acknowledges", async () => {
  const asked = Promise.withResolvers<Record<string, unknown>[]>();
  await using server = new ScriptedServer(async (peer) => {
    const channel = await acceptConsumer(peer, (qos, consume) => asked.resolve([qos, consume]));
    await letGo(peer, channel);
  });
  await using consumer = new TestConsumer(server.url, policy("q"), { prefetch: 3 });
  await consumer.ready.next();
  const [qos, consume] = await asked.promise;
  assertEquals([qos!.prefetchCount, qos!.prefetchSize, qos!.global], [3, 0, false]);
  assertEquals([consume!.queue, consume!.noAck, consume!.exclusive], ["q", false, false]);
});

Deno.test("a broker that does not count a consumer of its own does not know what is ready", async () => {
  const states = [[0, 0], [3, 0], [0, 1]] as const;
  const left = [...states];
  /** Answers whoever asks on that channel. */
  async function answerOn(channel: PeerChannel): Promise<void> {
    for (;;) {
      await channel.expect("channel.open");
      await channel.send("channel.open-ok");
      const { queue } = await channel.expect("queue.declare");
      const [messageCount, consumerCount] = left.shift()!;
      await channel.send("queue.declare-ok", { queue, messageCount, consumerCount });
      await channel.expect("channel.close");
      await channel.send("channel.close-ok");
    }
  }
  await using server = new ScriptedServer(async (peer) => {
    const channel = await acceptConsumer(peer);
    // Each question has a channel, and the one before may still be closing.
    for (const id of [1, 3, 4]) answerOn(peer.channel(id)).catch(() => {});
    await letGo(peer, channel);
  });
  await using consumer = new TestConsumer(server.url, policy("q"));
  await consumer.ready.next();
  const ready: (number | undefined)[] = [];
  for (const _ of states) ready.push(await consumer.consumer.ready());
  assertEquals(ready, [undefined, 3, 0]);
});

Deno.test("an exception where a delivery is handed over costs the connection, not the process", async () => {
  await using server = new ScriptedServer(async (peer, connection) => {
    const channel = await acceptConsumer(peer);
    await channel.content("basic.deliver", { ...DELIVER, redelivered: connection > 1 }, "x");
    await letGo(peer, channel);
  });
  const again = Promise.withResolvers<boolean>();
  let thrown = 0;
  await using consumer = new TestConsumer(server.url, policy("q"), {
    random: () => 0,
    onDelivery: ({ task }) => {
      if (thrown++ === 0) throw new Error("a fault of ours");
      again.resolve(task.redelivered);
    },
  });
  assertStringIncludes(await consumer.log.lines.next(), "a fault of ours");
  assertEquals(await within("the task to come again", again.promise), true);
});

Deno.test("a delivery of a connection that has ended cannot be settled on the next one", async () => {
  const acks = Promise.withResolvers<number>();
  await using server = new ScriptedServer(async (peer, connection) => {
    const channel = await acceptConsumer(peer);
    await channel.content("basic.deliver", { ...DELIVER, redelivered: connection === 2 }, "x");
    if (connection === 1) return;
    acks.resolve((await channel.expect("basic.ack")).deliveryTag);
    await letGo(peer, channel);
  });
  await using consumer = new TestConsumer(server.url, policy("q"), { random: () => 0 });
  const [first, second] = await consumer.deliveries.take(2);
  assertEquals([first!.live, first!.ack(), first!.release()], [false, false, false]);
  assertEquals([second!.task.redelivered, second!.ack(), second!.ack()], [true, true, false]);
  assertEquals(await within("one acknowledgement", acks.promise), 1);
});

Deno.test("every way a publication can end settles its promise with the right error", async () => {
  const cases: [string, number, unknown, (peer: Peer, channel: PeerChannel) => Promise<unknown>][] =
    [
      [
        "the broker refused the task (basic.nack)",
        EXIT.temporary,
        NackError,
        (_, channel) => channel.send("basic.nack", { deliveryTag: 1 }),
      ],
      [
        "the broker refused the task (basic.nack)",
        EXIT.temporary,
        NackError,
        // RabbitMQ sets the other bit, too.
        (_, channel) =>
          channel.send("basic.nack", { deliveryTag: 0, multiple: true, requeue: true }),
      ],
      [
        "the broker did not confirm the task within 300 ms",
        EXIT.temporary,
        TaskError,
        () => Promise.resolve(),
      ],
      [
        "the broker did not confirm",
        EXIT.temporary,
        TaskError,
        (_, channel) => channel.send("basic.ack", { deliveryTag: 99 }),
      ],
      ["was lost: ", EXIT.temporary, ConnectionError, (peer) => Promise.resolve(peer.cut())],
      [
        "the broker closed the channel: NOT_FOUND - no exchange",
        EXIT.unavailable,
        ChannelError,
        (_, channel) =>
          channel.send("channel.close", { replyCode: 404, replyText: "NOT_FOUND - no exchange" }),
      ],
      [
        "the broker refused the task: PRECONDITION_FAILED - message size 9 is larger than 8",
        EXIT.badData,
        TaskError,
        (_, channel) =>
          channel.send("channel.close", {
            replyCode: 406,
            replyText: "PRECONDITION_FAILED - message size 9 is larger than 8",
          }),
      ],
      [
        "the broker refused the task: PRECONDITION_FAILED - invalid message: no such header type",
        EXIT.badData,
        TaskError,
        (_, channel) =>
          channel.send("channel.close", {
            replyCode: 406,
            replyText: "PRECONDITION_FAILED - invalid message: no such header type",
          }),
      ],
      [
        "INTERNAL_ERROR (541); the task may be on the queue or not",
        EXIT.temporary,
        InDoubtError,
        (_, channel) =>
          channel.send("channel.close", { replyCode: 541, replyText: "INTERNAL_ERROR" }),
      ],
      [
        "the broker closed the connection to",
        EXIT.temporary,
        ConnectionError,
        (peer) =>
          peer.channel(0).send("connection.close", { replyCode: 541, replyText: "INTERNAL_ERROR" }),
      ],
      [
        "the broker broke the protocol",
        EXIT.protocol,
        ConnectionError,
        (_, channel) => channel.send("basic.publish"),
      ],
    ];
  await Promise.all(cases.map(async ([sentence, exitCode, kind, play]) => {
    await using server = new ScriptedServer(async (peer) => {
      const channel = await acceptPublisher(peer);
      await channel.expectContent("basic.publish");
      await play(peer, channel);
      await letGo(peer);
    });
    await using connection = await open(server.url);
    const isOverdue = sentence.includes("did not confirm");
    const publisher = await Publisher.open(connection.transport, {
      confirmTimeout: isOverdue ? 300 : 60_000,
    });
    const error = await toolError(publisher.publish(task("q")));
    assertStringIncludes(error.message, sentence);
    assertEquals([error.exitCode, error.constructor], [exitCode, kind]);
    assertEquals(publisher.pending, 0);
  }));
});

Deno.test("a publisher that was refused a task asks for another one; what is pending still settles", async () => {
  await using server = new ScriptedServer(async (peer) => {
    const channel = await acceptPublisher(peer);
    await channel.expectContent("basic.publish");
    await channel.expectContent("basic.publish");
    await channel.send("basic.nack", { deliveryTag: 1 });
    await channel.send("basic.ack", { deliveryTag: 2 });
    await letGo(peer);
  });
  await using connection = await open(server.url);
  const publisher = await Publisher.open(connection.transport);
  const [refused, pending] = [
    toolError(publisher.publish(task("q"))),
    publisher.publish(task("q")),
  ];
  assertEquals(publisher.isEnded, false);
  assertEquals((await refused).exitCode, EXIT.temporary);
  assertEquals(publisher.isEnded, true);
  await within("the other task", pending);
});

Deno.test("a task that the broker closes the channel for is told from those beside it by its size", async () => {
  const replyText = "PRECONDITION_FAILED - message size 3 is larger than configured max size 2";
  await using server = new ScriptedServer(async (peer) => {
    const channel = await acceptPublisher(peer);
    for (let i = 0; i < 3; i++) await channel.expectContent("basic.publish");
    await channel.send("channel.close", { replyCode: 406, replyText });
    await letGo(peer);
  });
  await using connection = await open(server.url);
  const publisher = await Publisher.open(connection.transport);
  const errors = await Promise.all(
    [1, 3, 2].map((size) =>
      toolError(publisher.publish({ ...task("q"), body: new Uint8Array(size) }))
    ),
  );
  const doubt = [
    `the broker closed the channel: ${replyText} (406); the task may be on the queue or not`,
    EXIT.conflict,
  ];
  assertEquals(errors.map(({ message, exitCode }) => [message, exitCode]), [
    doubt,
    [`the broker refused the task: ${replyText}`, EXIT.badData],
    doubt,
  ]);
  assertEquals((await toolError(publisher.publish(task("q")))).constructor, ChannelError);
});

Deno.test("each return finds its own task, with message ids, without, and with equal ones", async () => {
  const ids = ["a", undefined, "same", "same", "", "\ud800", "\ufeffbom", "z"];
  const returned = new Set([1, 3, 5, 6]);
  await using server = new ScriptedServer(async (peer) => {
    const channel = await acceptPublisher(peer);
    const messages = [];
    for (const _ of ids) messages.push(await channel.expectContent("basic.publish"));
    for (const [i, { args, header, body }] of messages.entries()) {
      if (!returned.has(i)) continue;
      const { exchange, routingKey } = args;
      await channel.send("basic.return", {
        replyCode: 312,
        replyText: "NO_ROUTE",
        exchange,
        routingKey,
      });
      await peer.sendFrame(FRAME.header, channel.id, header);
      await peer.sendFrame(FRAME.body, channel.id, body);
    }
    await channel.send("basic.ack", { deliveryTag: ids.length, multiple: true });
    await letGo(peer);
  });
  await using connection = await open(server.url);
  const publisher = await Publisher.open(connection.transport);
  const outcomes = await Promise.allSettled(
    ids.map((messageId) =>
      publisher.publish(task("q", "x", messageId === undefined ? {} : { messageId }))
    ),
  );
  // Of two equal ids it is one or the other: the first that is still without a return.
  assertEquals(outcomes.map(({ status }) => status === "rejected"), [
    false,
    true,
    true,
    false,
    false,
    true,
    true,
    false,
  ]);
  for (const outcome of outcomes) {
    if (outcome.status === "fulfilled") continue;
    assert(outcome.reason instanceof TaskError);
    assertEquals(outcome.reason.exitCode, EXIT.unavailable);
    assertStringIncludes(outcome.reason.message, 'there is no queue "q" (NO_ROUTE 312)');
  }
});

Deno.test("a return whose id cannot be read still fails a task that went the same way", async () => {
  await using server = new ScriptedServer(async (peer) => {
    const channel = await acceptPublisher(peer);
    await channel.expectContent("basic.publish");
    await channel.expectContent("basic.publish");
    await channel.content("basic.return", {
      replyCode: 312,
      replyText: "NO_ROUTE",
      routingKey: "gone",
    });
    await channel.send("basic.ack", { deliveryTag: 2, multiple: true });
    await letGo(peer);
  });
  await using connection = await open(server.url);
  const publisher = await Publisher.open(connection.transport);
  const other = publisher.publish(task("there"));
  assertEquals((await toolError(publisher.publish(task("gone")))).exitCode, EXIT.unavailable);
  await other;
});

Deno.test("a publication waits while the broker blocks, and ends with the connection", async () => {
  const blocked = Promise.withResolvers<void>();
  await using server = new ScriptedServer(async (peer) => {
    const channel = await acceptPublisher(peer);
    await channel.expectContent("basic.publish");
    await peer.channel(0).send("connection.blocked", { reason: "low on memory" });
    await channel.send("basic.ack", { deliveryTag: 1 });
    await blocked.promise;
    assertEquals(channel.unread, 0);
    await peer.channel(0).send("connection.unblocked");
    await channel.expectContent("basic.publish");
    await channel.send("basic.ack", { deliveryTag: 2 });
    await peer.channel(0).send("connection.blocked", { reason: "again" });
    await channel.expect("channel.close"); // asks for the cut
  });
  await using connection = await open(server.url);
  const { transport } = connection;
  const publisher = await Publisher.open(transport);
  await publisher.publish(task("q"));
  assertEquals(transport.blocked, "low on memory");
  const second = publisher.publish(task("q"));
  blocked.resolve();
  await within("the blocked task", second);
  while (transport.blocked === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
  const third = toolError(publisher.publish(task("q")));
  // The package never settles this one (limit 6).
  transport.channel(1).then((channel) => channel.close()).catch(() => {});
  assertEquals((await third).constructor, ConnectionError);
});

Deno.test("a publication under way is not given up while the broker blocks", async () => {
  const passed = Promise.withResolvers<true>();
  await using server = new ScriptedServer(async (peer) => {
    const channel = await acceptPublisher(peer);
    await channel.expectContent("basic.publish");
    await peer.channel(0).send("connection.blocked", { reason: "low on memory" });
    const leaving = letGo(peer);
    if (await Promise.race([passed.promise, leaving])) {
      await peer.channel(0).send("connection.unblocked");
      await channel.send("basic.ack", { deliveryTag: 1 });
    }
    await leaving;
  });
  await using silent = new ScriptedServer(async (peer) => {
    const channel = await acceptPublisher(peer);
    await channel.expectContent("basic.publish");
    await letGo(peer);
  });
  // On a busy machine its time may be over before the broker blocks.
  for (let confirmTimeout = 100, isInTime = false; !isInTime; confirmTimeout *= 2) {
    await using connection = await open(server.url);
    await using other = await open(silent.url);
    const publisher = await Publisher.open(connection.transport, { confirmTimeout });
    const clock = await Publisher.open(other.transport, { confirmTimeout });
    const held = publisher.publish(task("q"));
    held.catch(() => {}); // awaited below
    while (connection.transport.blocked === undefined) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    isInTime = publisher.pending === 1;
    if (!isInTime) continue;
    assertStringIncludes((await toolError(clock.publish(task("q")))).message, "did not confirm");
    passed.resolve(true);
    await within("the confirm", held);
  }
});

Deno.test("closing a publisher, and any request, ends with the connection, not after a timeout", async () => {
  await using server = new ScriptedServer(async (peer) => {
    const channel = await acceptPublisher(peer);
    await channel.expect("channel.close");
    await peer.channel(2).expect("channel.open");
  });
  await using connection = await open(server.url);
  const { transport } = connection;
  const publisher = await Publisher.open(transport);
  const [closing, opening] = [toolError(publisher.close()), toolError(transport.openChannel())];
  assertEquals([(await closing).constructor, (await opening).constructor], [
    ConnectionError,
    ConnectionError,
  ]);
  assertEquals(
    (await toolError(publisher.publish(task("q")))).message,
    "the publisher was closed by us",
  );
  assertEquals((await toolError(transport.openChannel())).constructor, ConnectionError);
  await publisher.close();
});

Deno.test("a goodbye that nobody answers does not hang", async () => {
  await using server = new ScriptedServer(async (peer) => {
    await peer.acceptHandshake();
    await peer.ended();
  });
  const connection = await open(server.url);
  await within("the goodbye", connection.transport.shutdown());
  assertEquals(connection.transport.isEnded, true);
  await connection.transport.shutdown();
});

Deno.test("limits that change while one is changed make one consumer", async () => {
  const changes = new Mailbox<unknown[]>("change of the limit");
  await using server = new ScriptedServer(async (peer) => {
    const channel = await acceptConsumer(peer);
    for (const next of ["d", "e"]) {
      const { consumerTag } = await channel.expect("basic.cancel");
      await channel.send("basic.cancel-ok", { consumerTag });
      const { prefetchCount } = await channel.expect("basic.qos");
      await channel.send("basic.qos-ok");
      await channel.expect("basic.consume");
      await channel.send("basic.consume-ok", { consumerTag: next });
      changes.put([consumerTag, prefetchCount]);
    }
    await letGo(peer, channel);
  });
  await using consumer = new TestConsumer(server.url, policy("q"));
  await consumer.ready.next();
  for (const prefetch of [20, 40, 30, 30]) consumer.consumer.prefetch = prefetch;
  assertEquals(await changes.next(), ["c", 30]);
  consumer.consumer.prefetch = 5;
  assertEquals(await changes.next(), ["d", 5]);
});

Deno.test("who leaves says goodbye, and waits for no answer of our broker", async () => {
  const heard = Promise.withResolvers<unknown>();
  await using server = new ScriptedServer(async (peer) => {
    await peer.acceptHandshake(undefined, { product: OUR_BROKER });
    heard.resolve(await peer.channel(0).expect("connection.close"));
    await peer.ended();
  });
  await using connection = await open(server.url);
  await within("the goodbye", connection.transport.leave());
  await within("the broker to hear it", heard.promise);
  await within("the goodbye to nobody", connection.transport.leave());
});

Deno.test("who leaves RabbitMQ waits for its answer: it warns of those who do not", async () => {
  let hasAnswered = false;
  await using server = new ScriptedServer(async (peer) => {
    await peer.acceptHandshake(undefined, { product: "RabbitMQ" });
    await peer.channel(0).expect("connection.close");
    hasAnswered = true;
    await peer.channel(0).send("connection.close-ok");
    await peer.ended();
  });
  await using connection = await open(server.url);
  await within("the goodbye", connection.transport.leave());
  assertEquals(hasAnswered, true);
  await within("the goodbye to nobody", connection.transport.leave());
});

Deno.test("a channel that the broker refuses, or closes at once, is an error and not a wait", async () => {
  await using server = new ScriptedServer(async (peer) => {
    await peer.acceptHandshake({ channelMax: 1, frameMax: 131072, heartbeat: 0 });
    await peer.channel(1).expect("channel.open");
    await peer.channel(1).expect("confirm.select");
    // In one piece, so that both are read before anybody can look at the channel.
    await peer.channel(1).send("channel.close", { replyCode: 506, replyText: "RESOURCE_ERROR" });
    await peer.channel(1).expect("channel.close-ok");
    await peer.channel(1).expect("channel.open");
    await peer.channel(1).send("channel.open-ok");
    await letGo(peer);
  });
  await using connection = await open(server.url);
  const error = await toolError(Publisher.open(connection.transport));
  assertEquals([error.constructor, error.exitCode], [ChannelError, EXIT.temporary]);
  await connection.transport.openChannel();
  assertStringIncludes(
    (await toolError(connection.transport.openChannel())).message,
    "/: the connection may have 1 (channel_max), and has them all",
  );
});

/** One way to spoil what a server sends. */
type Fault = (bytes: Uint8Array, offset: number) => Uint8Array;

/** Applies a fault to everything a peer sends, and counts it. */
function spoil(peer: Peer, fault: Fault): { sent: number } {
  const count = { sent: 0 };
  const send = peer.sendBytes.bind(peer);
  peer.sendBytes = async (bytes) => {
    const spoilt = fault(bytes, count.sent);
    count.sent += bytes.length;
    await send(spoilt);
    if (spoilt.length < bytes.length) peer.cut();
  };
  return count;
}

/** Nothing is spoilt. */
const NO_FAULT: Fault = (bytes) => bytes;

/** Long enough for a client that answers, short for one that was told nonsense. */
const PATIENCE_MS = 400;

/** A consumer whose first connection is spoilt ends with a task or with a sentence. */
async function consumeSpoilt(fault: Fault): Promise<number> {
  const patienceMs = fault === NO_FAULT ? STEP_MS : PATIENCE_MS;
  let counter = { sent: 0 };
  await using server = new ScriptedServer(async (peer, connection) => {
    if (connection === 1) counter = spoil(peer, fault);
    try {
      const channel = await acceptConsumer(peer, undefined, patienceMs);
      const properties = { messageId: "m", contentType: "text/plain", headers: { a: 1, b: ["x"] } };
      await channel.content("basic.deliver", DELIVER, "hello", properties);
      await channel.expect("basic.ack", patienceMs);
      await letGo(peer, channel);
    } catch {
      // The client has heard nonsense and may do anything but hang.
    }
  });
  await using consumer = new TestConsumer(
    `${server.url}?connection_timeout=${2 * patienceMs}`,
    policy("q"),
    {
      random: () => 0,
    },
  );
  const outcome = await within(
    "a task or a sentence",
    Promise.race([
      consumer.deliveries.next().then((delivery) => delivery.ack()),
      toolError(consumer.done).then(() => true),
    ]),
  );
  assertEquals(typeof outcome, "boolean");
  return counter.sent;
}

/** A publication on a spoilt connection is confirmed or ends with a sentence. */
async function publishSpoilt(fault: Fault): Promise<number> {
  const patienceMs = fault === NO_FAULT ? STEP_MS : PATIENCE_MS;
  let counter = { sent: 0 };
  await using server = new ScriptedServer(async (peer) => {
    counter = spoil(peer, fault);
    try {
      const channel = await acceptPublisher(peer, patienceMs);
      const { args, properties } = await channel.expectContent("basic.publish", patienceMs);
      await channel.content(
        "basic.return",
        { replyCode: 312, replyText: "NO_ROUTE", routingKey: args.routingKey },
        "hello",
        properties,
      );
      await channel.send("basic.ack", { deliveryTag: 1 });
      await letGo(peer);
    } catch {
      // The client has heard nonsense and may do anything but hang.
    }
  });
  try {
    const transport = await within(
      "a connection",
      Transport.open(endpointOf(`${server.url}?connection_timeout=${2 * patienceMs}`), IDENTITY),
    );
    try {
      const publisher = await within(
        "a channel",
        Publisher.open(transport, { confirmTimeout: patienceMs }),
      );
      await within("an outcome", publisher.publish(task("q", "hello", { messageId: "m" })));
    } finally {
      await transport.shutdown();
    }
  } catch (error) {
    assert(error instanceof ToolError, Deno.inspect(error));
    assert(!error.message.includes("guest:"), error.message);
  }
  return counter.sent;
}

/** Runs many small sessions, some at a time. */
async function many(count: number, one: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  await Promise.all(Array.from({ length: 16 }, async () => {
    while (next < count) await one(next++);
  }));
}

function cutAt(position: number): Fault {
  return (bytes, offset) => bytes.subarray(0, Math.max(0, position - offset));
}

function changedAt(position: number, mask: number): Fault {
  return (bytes, offset) => {
    const at = position - offset;
    return at >= 0 && at < bytes.length ? bytes.with(at, bytes[at]! ^ mask) : bytes;
  };
}

Deno.test("a session cut off at any byte never hangs and never throws past its caller", async () => {
  const consumed = await consumeSpoilt(NO_FAULT);
  await many(consumed, (i) => consumeSpoilt(cutAt(i)));
  const published = await publishSpoilt(NO_FAULT);
  await many(published, (i) => publishSpoilt(cutAt(i)));
  assert(consumed > 300 && published > 200, `${consumed} and ${published} bytes`);
});

Deno.test("a session with random bytes changed never hangs and never throws past its caller", async () => {
  const random = new Random(7);
  const consumed = await consumeSpoilt(NO_FAULT);
  await many(120, () => consumeSpoilt(changedAt(random.below(consumed), 1 + random.below(255))));
  const published = await publishSpoilt(NO_FAULT);
  await many(120, () => publishSpoilt(changedAt(random.below(published), 1 + random.below(255))));
});
