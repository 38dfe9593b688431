/** How many queues, exchanges and bindings a broker takes, and what becomes of those that it has. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Arguments } from "../support/methods.ts";
import { openPeer } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { startHere } from "./harness.ts";

type Call = [method: string, args: Arguments];
type Add = (n: number) => Call;

const KINDS: readonly [what: RegExp, add: Add][] = [
  [
    /declare queue 'q\d+' in vhost '\/'/,
    (n) => ["queue.declare", { queue: `q${n}`, durable: true }],
  ],
  [
    /declare exchange 'e\d+' in vhost '\/'/,
    (n) => ["exchange.declare", { exchange: `e${n}`, type: "topic" }],
  ],
  [
    /bind queue 'kept' in vhost '\/'/,
    (n) => ["queue.bind", { queue: "kept", exchange: "amq.topic", routingKey: `${n}.#` }],
  ],
];

/** Adds until the broker refuses. @returns how many it took, and the refusal */
async function fill(
  port: number,
  add: Add,
): Promise<{ count: number; code: number; text: string }> {
  await using peer = await openPeer(port);
  const channel = await peer.open();
  for (let count = 0; count < 1_000; count++) {
    const [name, args] = add(count);
    await channel.send(name, args);
    const answer = await channel.method();
    if (answer.name === `${name}-ok`) continue;
    assertEquals(answer.name, "channel.close");
    return { count, code: answer.args.replyCode, text: answer.args.replyText };
  }
  throw new Error("nothing was refused");
}

Deno.test("more queues, exchanges or bindings than memory has room for are refused, and room comes back", async () => {
  await using broker = await startHere({ limits: { definitionBytes: 60_000 } });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  await channel.call("queue.declare", { queue: "kept" });
  const clear = async (count: number) => {
    for (let n = 0; n < count; n++) {
      await channel.call("queue.delete", { queue: `q${n}` });
      await channel.call("exchange.delete", { exchange: `e${n}` });
      const key = { exchange: "amq.topic", routingKey: `${n}.#` };
      await channel.call("queue.unbind", { queue: "kept", ...key });
    }
  };
  for (const [what, add] of KINDS) {
    const first = await fill(broker.port, add);
    assertEquals(first.code, 406);
    assertMatch(first.text, what);
    assertMatch(first.text, /the limit of 59 kB of memory for queues, exchanges and bindings is/);
    assert(first.count > 20, `${first.count}`);
    // What is there is served, and may be declared again.
    await channel.call("queue.declare", { queue: "kept" });
    await clear(first.count);
    assertEquals((await fill(broker.port, add)).count, first.count);
    await clear(first.count);
  }
});

Deno.test("bindings give room back that go with their queue or exchange, and so do queues with their connection", async () => {
  await using broker = await startHere({ limits: { definitionBytes: 60_000 } });
  const bind = (
    n: number,
  ): Call => ["queue.bind", { queue: "q", exchange: "e", routingKey: `${n}` }];
  const declare = async () => {
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    await channel.call("queue.declare", { queue: "q" });
    await channel.call("exchange.declare", { exchange: "e", type: "direct", autoDelete: true });
  };
  const counts: number[] = [];
  for (const end of ["queue.delete", "exchange.delete"] as const) {
    await declare();
    counts.push((await fill(broker.port, bind)).count);
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    if (end === "queue.delete") await channel.call(end, { queue: "q" });
    else await channel.call(end, { exchange: "e" });
    await channel.call("queue.delete", { queue: "q" });
    await channel.call("exchange.delete", { exchange: "e" });
  }
  assertEquals(counts[0], counts[1]);
  const exclusive = (n: number): Call => ["queue.declare", { queue: `x${n}`, exclusive: true }];
  const { count } = await fill(broker.port, exclusive);
  await waitUntil("the end of the connection", () => broker.inside.sessions.size === 0);
  assertEquals((await fill(broker.port, exclusive)).count, count);
});

Deno.test("the exclusive queues of a connection are gone when it hears of its end, however many", async () => {
  await using broker = await startHere({});
  await using other = await openPeer(broker.port);
  const channel = await other.open();
  const count = 500;
  for (const isCut of [false, true]) {
    const peer = await openPeer(broker.port);
    const own = await peer.open();
    for (let n = 0; n < count; n++) {
      await own.send("queue.declare", { queue: `x${n}`, exclusive: true, noWait: true });
    }
    await own.call("queue.declare", { queue: "x0", exclusive: true });
    const left = () => [...broker.inside.vhosts.get("/")!.queues].length;
    assertEquals(left(), count);
    if (isCut) {
      await peer[Symbol.asyncDispose]();
      await waitUntil("all to be gone", () => left() === 0);
    } else {
      await peer.close();
      assertEquals(left(), 0);
    }
    await channel.call("queue.declare", { queue: `x${count - 1}`, autoDelete: true });
    await channel.call("queue.delete", { queue: `x${count - 1}` });
  }
});

Deno.test("more than there is room for is there after a start, and can be deleted", async () => {
  await using folder = await tempDir();
  const [, add] = KINDS[0]!;
  let many: number;
  {
    await using broker = await startHere({
      folder: folder.path,
      limits: { definitionBytes: 60_000 },
    });
    many = (await fill(broker.port, add)).count;
  }
  await using broker = await startHere({
    folder: folder.path,
    limits: { definitionBytes: 30_000 },
  });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  for (let n = 0; n < many; n++) await channel.call(...add(n));
  assertEquals((await fill(broker.port, () => add(many))).code, 406);
  for (let n = 0; n < many; n++) await channel.call("queue.delete", { queue: `q${n}` });
  assert((await fill(broker.port, add)).count > 10);
});
