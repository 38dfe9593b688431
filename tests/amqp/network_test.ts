/** What networks do: cut, swallow, in one direction or both, while idle and while busy. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Connector, reconnectPause } from "../../src/amqp/connection.ts";
import { ensureWorkQueue, inspectQueue } from "../../src/amqp/declare.ts";
import { Publisher } from "../../src/amqp/publisher.ts";
import { Transport } from "../../src/amqp/transport.ts";
import { parseUrls } from "../../src/amqp/url.ts";
import { ConnectionError, EXIT, ToolError } from "../../src/errors.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { ipv6Test } from "../support/ipv6.ts";
import { freePorts } from "../support/ports.ts";
import { Peer } from "../support/protocol_peer.ts";
import { type Direction, Proxy } from "../support/proxy.ts";
import { Random } from "../support/random.ts";
import { ScriptedServer } from "../support/scripted_server.ts";
import { uniqueName } from "../support/temp.ts";
import { waitUntil, within } from "../support/wait.ts";
import {
  endpointOf,
  IDENTITY,
  open,
  policy,
  task,
  TestConsumer,
  TestLog,
  toolError,
} from "./harness.ts";

const node = await sharedNode();

/** Publishes until the connection ends; gives how many were confirmed and the error of the rest. */
async function publishUntilEnd(publisher: Publisher, queue: string): Promise<[number, ToolError]> {
  for (let confirmed = 0;; confirmed++) {
    try {
      await publisher.publish(task(queue, "x"));
    } catch (error) {
      assert(error instanceof ToolError, Deno.inspect(error));
      return [confirmed, error];
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A black hole is noticed by the heartbeats, whoever is talking at the time. */
async function blackHole(direction: Direction | undefined, busy: boolean): Promise<string> {
  await using proxy = await Proxy.start(node.port);
  await using direct = await open(node.url);
  await using connection = await open(`${proxy.url}?heartbeat=2`);
  const name = uniqueName("amqp");
  await ensureWorkQueue(direct.transport, policy(name));
  const publisher = await Publisher.open(connection.transport);
  const publishing = busy ? publishUntilEnd(publisher, name) : undefined;
  if (busy) {
    await waitUntil(
      "some confirmed tasks",
      async () => (await inspectQueue(direct.transport, name)).messageCount > 3,
    );
  }
  proxy.blackHole(direction);
  const error = await within("the black hole to be noticed", connection.transport.ended);
  assertEquals([error.constructor, error.exitCode], [ConnectionError, EXIT.temporary]);
  if (publishing !== undefined) {
    const [confirmed, last] = await within("the publisher to end", publishing);
    assertStringIncludes(last.message, error.message);
    // Nothing confirmed is missing.
    assert((await inspectQueue(direct.transport, name)).messageCount >= confirmed);
  }
  await (await direct.transport.openChannel()).queueDelete(name);
  return error.message;
}

brokerTest(
  "heartbeats go both ways: black holes are noticed, busy and idle consumers stay",
  async () => {
    async function staysConnected(busy: boolean): Promise<void> {
      const name = uniqueName("amqp");
      await using proxy = await Proxy.start(node.port);
      await using direct = await open(node.url);
      // Two and three seconds, because a broker on a busy machine may well be silent for one.
      const url = `${proxy.url}?heartbeat=3`;
      await using consumer = new TestConsumer(url, policy(name), { prefetch: 1 });
      await consumer.ready.next();
      const publisher = await Publisher.open(direct.transport);
      for (let tasks = 0; busy && tasks < 100; tasks++) {
        await publisher.publish(task(name));
        (await consumer.deliveries.next()).ack();
      }
      // The busy one works on its last task from now on, and sends nothing but heartbeats. They are
      // 0.75 s apart or more, and a broker that hears nothing for 6 s ends the connection.
      if (busy) await publisher.publish(task(name));
      if (busy) await consumer.deliveries.next();
      await Promise.all([proxy.heartbeats("toServer", 9), proxy.heartbeats("toClient", 3)]);
      assertEquals([consumer.log.lines.waiting, consumer.ready.waiting], [[], []]);
      assertEquals(proxy.total, 1);
      await (await direct.transport.openChannel()).queueDelete(name);
    }
    const silent = "has been silent for 2 s";
    const [idle, busy, idleIn, busyIn] = await Promise.all([
      blackHole(undefined, false),
      blackHole(undefined, true),
      blackHole("toClient", false),
      blackHole("toClient", true),
      // Here the broker still beats, and ends it when it hears nothing of us.
      blackHole("toServer", false),
      blackHole("toServer", true),
      staysConnected(false),
      staysConnected(true),
    ]);
    for (const message of [idle, busy, idleIn, busyIn]) assertStringIncludes(message, silent);
  },
);

brokerTest(
  "a consumer connects again after a cut, a FIN, a refusal and a black hole, and loses no task",
  async () => {
    await using proxy = await Proxy.start(node.port);
    await using direct = await open(node.url);
    const name = uniqueName("amqp");
    await using consumer = new TestConsumer(
      `${proxy.url}?heartbeat=2&connection_timeout=5000`,
      policy(name),
      {
        prefetch: 1,
        random: () => 0,
      },
    );
    await consumer.ready.next();
    const publisher = await Publisher.open(direct.transport);
    const faults: (() => Promise<void> | void)[] = [
      () => proxy.cut(),
      () => proxy.end(),
      async () => {
        proxy.refuse();
        await proxy.cut();
      },
      () => proxy.blackHole(),
      () => proxy.truncate(1, "toClient"),
    ];
    const done = new Set<string>();
    for (const [i, fault] of faults.entries()) {
      await publisher.publish(task(name, "x", { messageId: `task ${i}` }));
      const held = await consumer.deliveries.next();
      // What was said of the last one.
      await consumer.log.lines.take(consumer.log.lines.waiting.length);
      await fault();
      await consumer.log.lines.next();
      proxy.heal();
      await consumer.ready.next();
      assertEquals(held.ack(), false);
      const again = await consumer.deliveries.next();
      assertEquals([again.task.id, again.task.redelivered, again.ack()], [
        held.task.id,
        true,
        true,
      ]);
      done.add(again.task.id);
    }
    assertEquals(done.size, faults.length);
    await (await direct.transport.openChannel()).queueDelete(name);
  },
);

brokerTest(
  "of several URLs the first that answers is used: refused, silent and foreign ones are passed over",
  async () => {
    await using silent = await Proxy.start(node.port);
    silent.blackHole();
    await using foreign = new ScriptedServer((peer) =>
      peer.sendBytes(new TextEncoder().encode("HTTP/1.1 200 OK\r\n"))
    );
    const [closed] = freePorts(1);
    const urls = [
      `amqp://127.0.0.1:${closed}`,
      `${silent.url}?connection_timeout=300`,
      foreign.url,
      node.url,
    ];
    const connector = new Connector({
      endpoints: parseUrls(urls.join(",")),
      identity: IDENTITY,
      log: new TestLog(),
    });
    const transport = await connector.connect();
    assertEquals(transport.endpoint.port, node.port);
    // The next round begins behind the one that was used.
    const others = await toolError(
      new Connector({
        endpoints: parseUrls(urls.slice(0, 3).join(",")),
        identity: IDENTITY,
        log: new TestLog(),
      }).connect(),
    );
    assertEquals(others.exitCode, EXIT.temporary);
    await transport.shutdown();
  },
);

ipv6Test("an IPv6 literal is connected to", async () => {
  const listener = Deno.listen({ hostname: "::1", port: 0 });
  const accepted = listener.accept();
  const opening = Transport.open(endpointOf(`amqp://[::1]:${listener.addr.port}`), IDENTITY);
  await using peer = new Peer(await accepted);
  listener.close();
  await peer.acceptHandshake();
  const transport = await within("the connection", opening);
  const leaving = transport.shutdown();
  await peer.channel(0).expect("connection.close");
  await peer.channel(0).send("connection.close-ok");
  await leaving;
});

Deno.test("an attempt that is given up leaves no socket behind", async () => {
  const gone: Promise<void>[] = [];
  await using server = new ScriptedServer((peer) => {
    gone.push(peer.ended());
    return peer.ended();
  });
  // On a busy machine the time may be over before anybody is there.
  while (gone.length < 5) {
    await toolError(Transport.open(endpointOf(`${server.url}?connection_timeout=100`), IDENTITY));
  }
  await Promise.all(gone);
});

Deno.test("a TLS handshake that nobody answers is given up in time", async () => {
  await using server = new ScriptedServer((peer) => peer.ended());
  const url = server.url.replace("amqp:", "amqps:");
  const queries = ["", "&verify=verify_none", "&server_name_indication=x"];
  await Promise.all(queries.map(async (query) => {
    const error = await toolError(
      Transport.open(endpointOf(`${url}?connection_timeout=300${query}`), IDENTITY),
    );
    assertStringIncludes(error.message, "no answer within 300 ms");
  }));
});

Deno.test("a host that does not exist or refuses is a temporary failure in one sentence", async () => {
  const [closed] = freePorts(1);
  for (
    const url of [
      `amqp://127.0.0.1:${closed}`,
      `amqps://127.0.0.1:${closed}`,
      "amqp://no.such.host.invalid",
    ]
  ) {
    const error = await toolError(Transport.open(endpointOf(url), IDENTITY));
    assertStringIncludes(error.message, "cannot connect to amqp");
    assertEquals(
      [error.exitCode, (error as ConnectionError).fatal],
      [EXIT.temporary, false],
      error.message,
    );
    assert(!error.message.includes("\n") && !error.message.includes("os error"), error.message);
  }
});

Deno.test("the pause between attempts doubles from half a second to 30, with full jitter", () => {
  const random = new Random(8);
  for (let attempt = 0; attempt < 5000; attempt += attempt < 40 ? 1 : 97) {
    const most = Math.min(30_000, 500 * 2 ** attempt);
    assertEquals([reconnectPause(attempt, 0), reconnectPause(attempt, 1)], [0, most]);
    const part = random.next();
    assertEquals(reconnectPause(attempt, part), part * most);
  }
});

Deno.test("a connector waits longer after every failure until told that things went well", async () => {
  const [closed] = freePorts(1);
  const log = new TestLog();
  const stop = new AbortController();
  const connector = new Connector({
    endpoints: parseUrls(`amqp://127.0.0.1:${closed}`),
    identity: IDENTITY,
    log,
    random: () => 0.002,
  });
  const trying = connector.connectForever(stop.signal, false);
  const waits = [];
  for (let i = 0; i < 8; i++) {
    const [, amount] = /trying again in (.+)/.exec(await log.lines.next()) ?? [];
    waits.push(amount);
  }
  stop.abort();
  assertEquals(await within("the connector to stop", trying), undefined);
  assertEquals(waits.slice(0, 3), ["1 ms", "2 ms", "4 ms"]);
  assertEquals(waits.slice(6), ["60 ms", "60 ms"]);
  connector.succeeded();
  await connector.pause("again", stop.signal);
  const last = (await log.lines.take(log.lines.waiting.length)).at(-1)!;
  assertStringIncludes(last, "trying again in 1 ms");
});
