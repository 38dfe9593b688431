/** What needs a RabbitMQ node of its own: TLS, limits, alarms, death. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { ensureWorkQueue, inspectQueue } from "../../src/amqp/declare.ts";
import { Publisher } from "../../src/amqp/publisher.ts";
import { Transport } from "../../src/amqp/transport.ts";
import { ConnectionError, EXIT, InputError, ToolError } from "../../src/errors.ts";
import { Proxy } from "../support/proxy.ts";
import { type RabbitmqNode, rabbitmqTest, startRabbitmq } from "../support/rabbitmq.ts";
import { tempDir } from "../support/temp.ts";
import { waitUntil, within } from "../support/wait.ts";
import { type Certificates, CLIENT_NAME, makeCertificates } from "../amqp/certificates.ts";
import {
  endpointOf,
  IDENTITY,
  open,
  policy,
  task,
  TestConsumer,
  toolError,
} from "../amqp/harness.ts";

/** Milliseconds for what includes a start of the broker. */
const NODE_MS = 90_000;

rabbitmqTest("a node of one's own", async (t) => {
  await using dir = await tempDir("amqp-certificates-");
  const certificates = await makeCertificates(dir.path);
  await using node = await startRabbitmq({
    config: {
      max_message_size: 1000,
      consumer_timeout: 1000,
      ssl_cert_login_from: "common_name",
      "auth_mechanisms.1": "PLAIN",
      "auth_mechanisms.2": "EXTERNAL",
    },
    advanced: "[{rabbit, [{channel_tick_interval, 500}]}].",
    plugins: ["rabbitmq_auth_mechanism_ssl"],
    tls: { ...certificates.server, ca: certificates.ca, verifyPeer: true },
  });
  await node.eval(
    `rabbit_auth_backend_internal:add_user(<<"${CLIENT_NAME}">>, <<"unused">>, <<"tests">>),
    rabbit_auth_backend_internal:set_permissions(
      <<"${CLIENT_NAME}">>, <<"/">>, <<".*">>, <<".*">>, <<".*">>, <<"tests">>).`,
  );
  await t.step(
    "TLS: trust, names and client certificates are checked as told",
    () => tls(node, certificates),
  );
  await t.step(
    "a body over the broker's limit is the task's fault, in the broker's words",
    () => tooLarge(node),
  );
  await t.step(
    "a channel closed by the broker (consumer_timeout) is opened again",
    () => consumerTimeout(node),
  );
  await t.step(
    "a memory alarm holds publishers back, also after a reconnect, and passes",
    () => alarm(node),
  );
  await t.step(
    "a broker killed while tasks flow: every promise settles, what is confirmed is done",
    () => death(node),
  );
});

async function tls(
  node: RabbitmqNode,
  { ca, otherCa, client, stranger }: Certificates,
): Promise<void> {
  const port = new URL(node.tlsUrl).port;
  const cert = `&certfile=${client.cert}&keyfile=${client.key}`;
  const trusted = `?cacertfile=${ca}${cert}`;
  const works: [string, string][] = [
    ["the authority's file and a client certificate", `localhost:${port}/${trusted}`],
    ["another server name", `127.0.0.1:${port}/${trusted}&server_name_indication=broker.test`],
    ["no check at all", `127.0.0.1:${port}/?verify=verify_none${cert}`],
    [
      "no check, the wrong authority",
      `127.0.0.1:${port}/?verify=verify_none&cacertfile=${otherCa}${cert}`,
    ],
    ["the certificate as login", `localhost:${port}/${trusted}&auth_mechanism=external`],
  ];
  const fails: [string, string, RegExp][] = [
    [
      "an unknown authority",
      `localhost:${port}/?verify=verify_peer${cert}`,
      /UnknownIssuer|certificate/i,
    ],
    [
      "another authority",
      `localhost:${port}/?cacertfile=${otherCa}${cert}`,
      /UnknownIssuer|certificate/i,
    ],
    ["another host name", `127.0.0.1:${port}/${trusted}`, /NotValidForName|certificate/i],
    [
      "another server name",
      `localhost:${port}/${trusted}&server_name_indication=evil.test`,
      /certificate|altname/i,
    ],
    ["no client certificate", `localhost:${port}/?cacertfile=${ca}`, /certificate/i],
    [
      "a client certificate of another authority",
      `localhost:${port}/?cacertfile=${ca}&certfile=${otherCa}&keyfile=${
        otherCa.replace("pem", "key")
      }`,
      /certificate|unknown ?ca|handshake/i,
    ],
    [
      "a login by certificate for a name that is no user",
      `localhost:${port}/?cacertfile=${ca}&certfile=${stranger.cert}&keyfile=${stranger.key}&auth_mechanism=external`,
      /ACCESS_REFUSED|certificate/i,
    ],
    ["TLS on the plain port", `localhost:${node.port}/${trusted}`, /must speak TLS at this port/],
  ];
  await Promise.all([
    ...works.map(async ([what, rest]) => {
      const endpoint = endpointOf(`amqps://guest:guest@${rest}`);
      const transport = await within(what, Transport.open(endpoint, IDENTITY));
      const publisher = await Publisher.open(transport);
      const error = await toolError(publisher.publish(task("no.such.queue", new Uint8Array(900))));
      assertStringIncludes(error.message, "NO_ROUTE", what);
      await transport.shutdown();
    }),
    ...fails.map(async ([what, rest, sentence]) => {
      const error = await waitUntil(what, async () => {
        const endpoint = endpointOf(`amqps://guest:guest@${rest}`);
        const error = await toolError(Transport.open(endpoint, IDENTITY));
        // The broker's reset may overtake its reason.
        return /reset during the handshake/.test(error.message) ? undefined : error;
      });
      assert(error instanceof ConnectionError, `${what}: ${error.message}`);
      assert(sentence.test(error.message), `${what}: ${error.message}`);
      assertEquals(error.fatal, true, `${what}: ${error.message}`);
    }),
    ...[["/no/such/file.pem", EXIT.noInput], [
      `${ca.replace("ca.pem", "server.ext")}`,
      EXIT.badData,
    ]].map(async ([file, exitCode]) => {
      const error = await toolError(
        Transport.open(endpointOf(`amqps://localhost:${port}/?cacertfile=${file}`), IDENTITY),
      );
      assertEquals([error.constructor, error.exitCode], [InputError, exitCode], error.message);
      assertStringIncludes(error.message, `${file}`);
    }),
    toolError(Transport.open(endpointOf(`amqp://localhost:${port}`), IDENTITY)).then((error) => {
      assertStringIncludes(error.message, "it speaks TLS: use amqps://");
    }),
    toolError(
      Transport.open(
        endpointOf(`amqps://localhost:${port}/?cacertfile=${ca}&certfile=${client.cert}`),
        IDENTITY,
      ),
    ).then((error) => {
      assertStringIncludes(error.message, "needs both a certificate file and a key file");
    }),
    ...["", "&verify=verify_none"].map(async (query) => {
      const files = `certfile=${client.cert}&keyfile=${stranger.key}${query}`;
      const error = await toolError(
        Transport.open(
          endpointOf(`amqps://localhost:${port}/?cacertfile=${ca}&${files}`),
          IDENTITY,
        ),
      );
      assertEquals([error.constructor, error.exitCode], [InputError, EXIT.badData], error.message);
      assertStringIncludes(error.message, "must be the key of the certificate in the file");
    }),
  ]);
}

async function tooLarge(node: RabbitmqNode): Promise<void> {
  await using connection = await open(node.url);
  const { transport } = connection;
  await ensureWorkQueue(transport, policy("large"));
  const publisher = await Publisher.open(transport);
  await publisher.publish(task("large", new Uint8Array(1000)));
  const error = await toolError(publisher.publish(task("large", new Uint8Array(1001))));
  assertEquals(error.exitCode, EXIT.badData);
  assertStringIncludes(error.message, "message size 1001 is larger than configured max size 1000");
}

async function consumerTimeout(node: RabbitmqNode): Promise<void> {
  await using connection = await open(node.url);
  await using consumer = new TestConsumer(node.url, policy("slow", "quorum"), { random: () => 0 });
  await consumer.ready.next();
  const publisher = await Publisher.open(connection.transport);
  await publisher.publish(task("slow", "x", { messageId: "s" }));
  const held = await consumer.deliveries.next();
  const line = await consumer.log.lines.next();
  assertStringIncludes(
    line,
    "the broker closed the channel: PRECONDITION_FAILED - delivery acknowledgement",
  );
  const again = await consumer.deliveries.next();
  assertEquals([held.ack(), again.task.id, again.ack()], [false, "s", true]);
}

async function alarm(node: RabbitmqNode): Promise<void> {
  await using proxy = await Proxy.start(node.port);
  await using control = await open(node.url);
  const first = await open(proxy.url);
  await ensureWorkQueue(control.transport, policy("alarm"));
  const before = await Publisher.open(first.transport, { confirmTimeout: NODE_MS });
  await before.publish(task("alarm"));
  await node.setMemoryAlarm(true);
  // RabbitMQ says so to a connection when it publishes: that task is on the way, its fate unknown.
  const unknown = toolError(before.publish(task("alarm")));
  await waitUntil("the connection to be blocked", () => first.transport.blocked !== undefined);
  assertEquals(first.transport.blocked, "low on memory");
  const waiting = toolError(before.publish(task("alarm")));
  await proxy.cut();
  assertStringIncludes((await unknown).message, "the task may be on the queue or not");
  assertEquals((await waiting).constructor, ConnectionError);
  await using second = await open(proxy.url);
  assertEquals(second.transport.blocked, undefined);
  const after = await Publisher.open(second.transport, { confirmTimeout: NODE_MS });
  const late = [after.publish(task("alarm", "late 1")), after.publish(task("alarm", "late 2"))];
  await waitUntil("the new connection to be blocked", () => second.transport.blocked !== undefined);
  late.push(after.publish(task("alarm", "late 3")));
  await node.setMemoryAlarm(false);
  await within("the held tasks", Promise.all(late), NODE_MS);
  assertEquals(second.transport.blocked, undefined);
}

async function death(node: RabbitmqNode): Promise<void> {
  const confirmed = new Set<string>();
  const done = new Set<string>();
  // Classic: a quorum queue alone on its node may never find its leader again after a restart
  // (RabbitMQ 3.10, rabbitmq/ra#179); the cluster test has quorum queues.
  const queue = policy("death", "classic");
  const { name } = queue;
  let sent = 0;
  let failed = 0;
  const connection = await open(node.url);
  await ensureWorkQueue(connection.transport, queue);
  await using consumer = new TestConsumer(node.url, queue, {
    prefetch: 20,
    random: () => 0.2,
    onDelivery: (delivery) => {
      if (delivery.ack()) done.add(delivery.task.id);
    },
  });
  await consumer.ready.next();
  /** Publishes with a window until the connection ends; every promise settles. */
  async function flow(transport: Transport, enough: () => boolean): Promise<void> {
    const publisher = await Publisher.open(transport);
    const pending = new Set<Promise<void>>();
    while (!transport.isEnded && !enough()) {
      const messageId = `task ${sent++}`;
      const one = publisher.publish(task(name, "x", { messageId })).then(() => {
        confirmed.add(messageId);
      }, (error) => {
        assert(error instanceof ToolError, Deno.inspect(error));
        failed++;
      }).finally(() => pending.delete(one));
      pending.add(one);
      if (pending.size >= 50) await Promise.race(pending);
    }
    await within("every publication to settle", Promise.all(pending));
  }
  const flowing = flow(connection.transport, () => false);
  await waitUntil("some tasks to be done", () => done.size > 100);
  await node.kill();
  await flowing;
  assertEquals(connection.transport.isEnded, true);
  await node.start();
  const second = await waitUntil("a new connection", () => open(node.url), NODE_MS);
  await consumer.ready.next(NODE_MS);
  const goal = confirmed.size + 100;
  await flow(second.transport, () => confirmed.size >= goal);
  await waitUntil("every confirmed task to be done", () => confirmed.isSubsetOf(done), NODE_MS);
  assertEquals(confirmed.size + failed, sent);
  // Whatever was acknowledged and then delivered again is done again: the queue empties.
  await waitUntil(
    "an empty queue",
    async () => (await inspectQueue(second.transport, name)).messageCount === 0,
  );
  await second.transport.shutdown();
}
