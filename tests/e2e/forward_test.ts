/** `worker forward`: from our broker on a device to a broker of either kind. */
import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import { makeCertificates } from "../amqp/certificates.ts";
import { portOf, startProcess } from "../broker/harness.ts";
import { brokerTest, sharedNode, startNode } from "../support/broker.ts";
import { sharedBroker } from "../support/embedded.ts";
import { Proxy } from "../support/proxy.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { type Channel, look, onChannel, takeAll, takeOne, waitForReady } from "./queue_view.ts";
import { finish, forEachRow, start, stop } from "./tools.ts";

const there = await sharedNode();
const here = await sharedBroker();

type Properties = Parameters<Channel["basicPublish"]>[3];

/** Puts tasks on a queue here. */
async function put(
  queue: string,
  tasks: readonly (readonly [body: string | Uint8Array, properties?: Properties])[],
  route: { exchange: string; routingKey: string } = { exchange: "", routingKey: queue },
): Promise<void> {
  await onChannel(here.url, async (channel) => {
    await channel.queueDeclare(queue, { durable: true }, { "x-queue-type": "quorum" });
    if (route.exchange !== "") await channel.queueBind(queue, route.exchange, route.routingKey);
    await channel.confirmSelect();
    await Promise.all(
      tasks.map(([body, properties = {}]) =>
        channel.basicPublish(route.exchange, route.routingKey, body, {
          deliveryMode: 2,
          ...properties,
        })
      ),
    );
  });
}

function numbered(from: number, to: number): [string, Properties][] {
  return Array.from({ length: to - from }, (_, i) => [
    String(from + i),
    { messageId: `id-${from + i}` },
  ]);
}

function forwarded(headers: Record<string, unknown> | undefined): Record<string, unknown> {
  return headers?.["task-forwarded"] as Record<string, unknown>;
}

brokerTest("a queue is moved with everything about its tasks, in order", async () => {
  const queue = uniqueName("forward");
  const timestamp = new Date(1_700_000_000_000);
  await put(queue, [
    [new Uint8Array([0, 255, 10]), {
      messageId: "full",
      priority: 3,
      contentType: "image/png",
      correlationId: "c",
      replyTo: "r",
      type: "t",
      appId: "a",
      timestamp,
      expiration: "600000",
      headers: { tag: "x", CC: ["elsewhere"], "x-death": [], "task-attempt": 2 },
    }],
    ["waits", { messageId: "waits", headers: { "task-wait": 90_000, "task-expires-in": 200_000 } }],
    ["no id"],
    ["spins", { messageId: "spins", headers: { "task-forwarded": { count: 5 } } }],
    ["again", { messageId: "again", headers: { "task-forwarded": { count: 4 } } }],
    ...numbered(0, 50),
  ]);
  const args = ["forward", "--queue", queue, "--exit-when-empty"];
  const worker = await finish("worker", args, { url: here.url, env: { TO_AMQP_URL: there.url } });
  assertEquals(worker.code, 0, worker.stderr);
  assertMatch(worker.stderr, / forwarded tasks=54 bytes=\d+ dead=1 sent-again=0 /);

  const [full, noId, again, ...rest] = await takeAll(there.url, queue);
  const { expiration, headers = {}, messageId, timestamp: at, ...properties } = full!.properties;
  assertEquals(full!.body, new Uint8Array([0, 255, 10]));
  assertEquals([messageId, at?.getTime()], ["full", timestamp.getTime()]);
  assertEquals(properties, {
    priority: 3,
    deliveryMode: 2,
    contentType: "image/png",
    correlationId: "c",
    replyTo: "r",
    type: "t",
    appId: "a",
  });
  // What is left of it: the time in hand is off.
  assert(Number(expiration) <= 600_000 && Number(expiration) > 540_000, expiration);
  const { "task-forwarded": way, "x-delivery-count": _, ...others } = headers;
  assertEquals(others, { tag: "x", "task-attempt": 2, "task-hops": 1 });
  const { at: time, host, ...facts } = way as Record<string, unknown>;
  assertEquals(facts, {
    count: 1,
    broker: `amqp://127.0.0.1:${here.port}/`,
    queue,
    sent: 1,
    redelivered: false,
  });
  assertMatch(String(time), /^\d{4}-.*Z$/);
  assertGreater(String(host).length, 0);
  assertMatch(noId!.properties.messageId!, /^[\da-f-]{36}$/);
  assertEquals(forwarded(again!.properties.headers)["count"], 5);
  assertEquals(rest.map((message) => message.bodyString()), numbered(0, 50).map(([body]) => body));

  const waiting = await takeOne(there.url, `${queue}.delay.60000`);
  const left = Number(waiting.properties.headers?.["task-wait"]);
  assert(left <= 30_000 && left > 0, String(left));
  assertEquals(waiting.properties.headers?.["task-origin-queue"], queue);
  assertEquals(waiting.properties.expiration, undefined);
  const spun = await takeOne(here.url, `${queue}.dead`);
  assertMatch(String(spun.properties.headers?.["task-error"]), /may be forwarded 5 times/);
  await waitForReady(here.url, queue, 0);
});

brokerTest("what cannot be routed there is dead here, and the others pass it", async () => {
  const queue = uniqueName("forward");
  const tasks = numbered(0, 40);
  await put(queue, tasks, { exchange: "amq.topic", routingKey: `${queue}.good` });
  await put(queue, [["stray", { messageId: "stray" }]], {
    exchange: "amq.topic",
    routingKey: `${queue}.bad`,
  });
  await put(queue, [["last"]], { exchange: "amq.topic", routingKey: `${queue}.good` });
  await onChannel(there.url, async (channel) => {
    await channel.queueDeclare(queue, { durable: true });
    await channel.queueBind(queue, "amq.topic", `${queue}.good`);
  });
  const args = ["forward", "--queue", queue, "--to-exchange", "amq.topic", "--exit-when-empty"];
  const worker = await finish("worker", args, { url: here.url, env: { TO_AMQP_URL: there.url } });
  assertEquals(worker.code, 0, worker.stderr);
  const bodies = (await takeAll(there.url, queue)).map((message) => message.bodyString());
  assertEquals(bodies, [...tasks.map(([body]) => body), "last"]);
  const dead = await takeOne(here.url, `${queue}.dead`);
  assertEquals(dead.bodyString(), "stray");
  assertMatch(String(dead.properties.headers?.["task-error"]), /NO_ROUTE/);
});

brokerTest("what waits here is told with those that --rate holds back", async () => {
  const queue = uniqueName("forward");
  const count = 25;
  await using proxy = await Proxy.start(there.port);
  await put(queue, numbered(0, count));
  const to = new URL(there.url);
  to.port = String(proxy.port);
  const args = ["forward", "--queue", queue, "--rate", "5/s"];
  await using worker = start("worker", args, { url: here.url, env: { TO_AMQP_URL: to.href } });
  await waitUntil("the first to arrive", async () => (await look(there.url, queue)).ready > 0);
  proxy.refuse();
  await proxy.cut();
  const [, waiting] = await worker.waitForLog(
    /nothing can be sent to .*, (\d+) tasks? waits? here/,
  );
  const { ready: arrived } = await look(there.url, queue);
  assert(Number(waiting) >= count - arrived, `${waiting} wait, and ${arrived} arrived`);
  worker.kill();
  assertEquals((await worker.ended()).code, 0);
});

brokerTest("a link that comes and goes loses nothing, and sends again in order", async () => {
  const queue = uniqueName("forward");
  const count = 3_000;
  await using proxy = await Proxy.start(there.port);
  proxy.refuse();
  // In a quorum queue of RabbitMQ what one connection has sent may get in behind a gap when it ends.
  await onChannel(there.url, (channel) => channel.queueDeclare(queue, { durable: true }));
  await put(queue, numbered(0, count));
  const to = new URL(there.url);
  to.port = String(proxy.port);
  const args = ["forward", "--queue", queue, "--metrics", "0", "--exit-when-empty"];
  await using worker = start("worker", args, { url: here.url, env: { TO_AMQP_URL: to.href } });
  await worker.waitForLog(/nothing can be sent to amqp:.*; trying for 30 s, 3000 tasks wait here/);
  const [, page] = await worker.waitForLog(/ metrics at (http:.*)\/metrics$/);
  const ready = async () => {
    const response = await fetch(`${page}/readyz`);
    await response.body?.cancel();
    return response.status;
  };
  assertEquals(await ready(), 503);
  proxy.heal();
  proxy.throttle(300_000, "toServer");
  await worker.waitForLog(/takes tasks again after .*: 3000 tasks wait here/);
  assertEquals(await ready(), 200);
  for (const part of [0.2, 0.4, 0.6]) {
    await waitUntil("a part of them", async () => {
      return (await look(there.url, queue)).ready >= part * count;
    });
    await proxy.cut();
  }
  proxy.heal();
  const output = await worker.ended();
  assertEquals(output.code, 0, output.stderr);
  await waitUntil("the broker to count", async () => (await look(there.url, queue)).ready >= count);
  const again = Number(/sent-again=(\d+)/.exec(output.stderr)?.[1]);
  const messages = await takeAll(there.url, queue);
  const seen = new Set<number>();
  let doubled = 0;
  for (const message of messages) {
    const number = Number(message.bodyString());
    if (seen.has(number)) {
      doubled++;
      assertGreater(Number(forwarded(message.properties.headers)["sent"]), 1);
    } else {
      // What is new comes in order, whatever came again before it.
      assertEquals(number, seen.size);
      seen.add(number);
    }
  }
  assertEquals(seen.size, count);
  assert(doubled <= again, `${doubled} came twice, and ${again} were told`);
});

/** `deno task siege:forward` moves 10,000. */
const MOVED = Number(Deno.env.get("FORWARD_MOVED") ?? 1_000);

brokerTest("a live queue is moved and back: nothing is lost, and nothing is in both", async () => {
  await using dir = await tempDir();
  const queue = uniqueName("forward-live");
  const ledger = dir.file("ledger");
  /** @param ms for each task */
  const work = async (name: string, ms: number) => {
    await Deno.writeTextFile(
      dir.file(name),
      `export default async (task) => {
        await Deno.writeTextFile(${JSON.stringify(ledger)}, task.id + "\\n", { append: true });
        await new Promise((resolve) => setTimeout(resolve, ${ms}));
      };`,
    );
    return ["--queue", queue, "--handler", dir.file(name)];
  };
  const add = (url: string, from: number, to: number) =>
    onChannel(url, async (channel) => {
      await channel.confirmSelect();
      for (const [body, properties] of numbered(from, to)) {
        await channel.basicPublish("", queue, body, { deliveryMode: 2, ...properties });
      }
    });
  const move = (from: string, to: string) =>
    finish("worker", ["forward", "--queue", queue, "--exit-when-empty"], {
      url: from,
      env: { TO_AMQP_URL: to },
    });
  await put(queue, numbered(0, MOVED));
  await onChannel(
    there.url,
    (channel) => channel.queueDeclare(queue, { durable: true }, { "x-queue-type": "quorum" }),
  );
  await using workerHere = start("worker", await work("here.js", 5), { url: here.url });
  // However late the way back begins, there is something to be moved.
  const slowly = await work("there.js", 100);
  await using workerThere = start("worker", slowly, { url: there.url });
  const [there1] = await Promise.all([
    move(here.url, there.url),
    add(here.url, MOVED, MOVED + 200),
  ]);
  assertEquals(there1.code, 0, there1.stderr);
  const [back] = await Promise.all([
    move(there.url, here.url),
    add(there.url, MOVED + 200, MOVED + 400),
  ]);
  assertEquals(back.code, 0, back.stderr);
  assertMatch(back.stderr, /forwarded tasks=[1-9]/);
  await stop(workerHere);
  await stop(workerThere);
  const places = [
    (await Deno.readTextFile(ledger)).split("\n").slice(0, -1),
    ...[await takeAll(here.url, queue), await takeAll(there.url, queue)]
      .map((messages) => messages.map(({ properties }) => properties.messageId!)),
  ];
  assertEquals(places.flat().length, MOVED + 400, places.map(({ length }) => length).join(" "));
  assertEquals(new Set(places.flat()).size, MOVED + 400);
});

brokerTest(
  "a body that is too large there is dead here, and costs the others nothing",
  async () => {
    await using small = await startNode({ maxMessageSize: 1_000 });
    const queue = uniqueName("forward-large");
    await put(queue, [
      ...numbered(0, 20),
      ["x".repeat(5_000), { messageId: "large" }],
      ...numbered(20, 40),
    ]);
    const args = ["forward", "--queue", queue, "--exit-when-empty"];
    const worker = await finish("worker", args, { url: here.url, env: { TO_AMQP_URL: small.url } });
    assertEquals(worker.code, 0, worker.stderr);
    const bodies = (await takeAll(small.url, queue)).map(({ properties }) => properties.messageId!);
    // The broker closes the channel for it: what came behind it is sent again.
    assertEquals(
      [...new Set(bodies)],
      numbered(0, 40).map(([body]) => `id-${body}`),
      worker.stderr,
    );
    const dead = await takeAll(here.url, `${queue}.dead`);
    assertEquals(dead.map(({ properties }) => properties.messageId).sort(), ["large"]);
    assertMatch(String(dead[0]!.properties.headers?.["task-error"]), /message size 5000 is larger/);
  },
  { only: "embedded", because: "a RabbitMQ of its own takes too long to start" },
);

brokerTest("a drain behind a link that swallows everything gives tasks back", async () => {
  const queue = uniqueName("forward");
  await using proxy = await Proxy.start(there.port);
  const to = new URL(there.url);
  to.port = String(proxy.port);
  const args = ["forward", "--queue", queue, "--grace", "500ms"];
  await using worker = start("worker", args, { url: here.url, env: { TO_AMQP_URL: to.href } });
  await worker.waitForLine(/Forwarding/);
  await put(queue, [["first"]]);
  await waitForReady(there.url, queue, 1);
  await waitUntil("its confirm", () => {
    worker.kill("SIGUSR2");
    return worker.stderr.some((line) => / status running=0 .* done=1 /.test(line));
  });
  proxy.blackHole();
  await put(queue, numbered(0, 20));
  await waitUntil("the last one to be sent", () => proxy.swallowed("toServer").includes("id-19"));
  const { stderr } = await stop(worker);
  assertMatch(stderr, / forwarded tasks=1 .*sent-again=20 /);
  const left = (await takeAll(here.url, queue)).map((message) => message.bodyString());
  assertEquals(left, numbered(0, 20).map(([body]) => body));
  proxy.heal();
});

brokerTest("over TLS the other broker is checked, and it is told what is missing", async () => {
  await using dir = await tempDir();
  const { ca, otherCa, server } = await makeCertificates(dir.path);
  await using tls = startProcess(["--tls-cert", server.cert, "--tls-key", server.key]);
  const port = await portOf(tls);
  const target = (host: string) => ["--to", `amqps://guest@${host}:${port}/`];
  const trusted = ["--to-cacert", ca];
  const rows: readonly [number, RegExp, ...string[]][] = [
    [0, / forwarded tasks=1 /, ...target("localhost"), ...trusted],
    [
      0,
      / forwarded tasks=1 /,
      ...target("127.0.0.1"),
      ...trusted,
      "--to-tls-server-name",
      "broker.test",
    ],
    [0, / forwarded tasks=1 /, ...target("localhost"), "--to-tls-insecure"],
    [
      75,
      /UnknownIssuer; --to-cacert or cacertfile/,
      ...target("localhost"),
      "--to-cacert",
      otherCa,
    ],
    [75, /127\.0\.0\.1/, ...target("127.0.0.1"), ...trusted],
    [66, /cannot read the file/, ...target("localhost"), "--to-cacert", dir.file("none")],
  ];
  await forEachRow(rows, (row) => row.slice(2).join(" "), async ([code, words, ...args]) => {
    const queue = uniqueName("forward-tls");
    await put(queue, [["over TLS"]]);
    const worker = await finish(
      "worker",
      ["forward", "--queue", queue, "--max-tasks", "1", ...args],
      { url: here.url },
    );
    assertEquals(worker.code, code, worker.stderr);
    assertMatch(worker.stderr, words);
    assertEquals((await look(here.url, queue)).ready, code === 0 ? 0 : 1);
  });
}, { only: "embedded", because: "the link is the same to any broker" });

brokerTest("what somebody has to change first ends it, without a secret in its words", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.file("password"), "hidden-too\n");
  const classic = uniqueName("forward-classic");
  await onChannel(there.url, (channel) => channel.queueDeclare(classic, { durable: true }));
  const address = `127.0.0.1:${there.port}`;
  const target = `amqp://guest@${address}/`;
  const rows: readonly [number, RegExp, ...string[]][] = [
    [64, /needs the URL of the other broker, by --to or TO_AMQP_URL/],
    [64, /takes options only/, "--to", target, "word"],
    [64, /must be another one than the queues here/, "--to", here.url],
    [64, /--to-exchange and --to-queue/, "--to", target, "--to-exchange", "x", "--to-queue", "y"],
    [64, /--to-routing-key is for --to-exchange/, "--to", target, "--to-routing-key", "x"],
    [64, /--to must have an amqps.* URL for --to-cacert/, "--to", target, "--to-cacert", "x"],
    [64, /--bytes-rate must be/, "--to", target, "--bytes-rate", "fast"],
    [66, /password file/, "--to", target, "--to-password-file", dir.file("none")],
    [69, /no exchange '.*nowhere/, "--to", target, "--to-exchange", "nowhere"],
    [73, /type/, "--to", target, "--to-queue", classic, "--to-queue-type", "quorum"],
    [75, /could not be reached within/, "--to", "amqp://127.0.0.1:1/", "--connect-timeout", "1s"],
    [77, /ACCESS_REFUSED/, "--to", `amqp://guest:hidden@${address}/`],
    [77, /ACCESS_REFUSED/, "--to", target, "--to-password-file", dir.file("password")],
  ];
  await forEachRow(rows, (row) => row.slice(2).join(" "), async ([code, words, ...args]) => {
    const queue = uniqueName("forward");
    const worker = await finish("worker", ["forward", "--queue", queue, ...args], {
      url: here.url,
    });
    assertEquals(worker.code, code, worker.stderr);
    assertMatch(worker.stderr, words);
    assertEquals(/hidden/.test(worker.stderr), false, worker.stderr);
  });
});
