/** What the store refuses ends one connection at most, and stops nobody else. */
import { assertEquals, assertMatch } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { Case } from "../contract/contract.ts";
import type { Store } from "../../src/broker/store/store.ts";
import { openPeer, type Peer } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { startHere } from "./harness.ts";

const PERSISTENT = { deliveryMode: 2 };

/** SQL that makes a table refuse rows with the text in a column. */
function refuse(table: string, column: string): string {
  return `CREATE TRIGGER refuse_${table} BEFORE INSERT ON ${table}
    WHEN instr(NEW.${column}, CAST('poison' AS BLOB)) > 0
    BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: ${table}'); END`;
}

/** The same for messages. */
function refuseMessages(text = "poison"): string {
  return ["message", "pack"].map((table) => refuse(table, "content")).join(";")
    .replaceAll("poison", text);
}

const DURABLE = { durable: true };

/** What is refused, each on a connection of its own: what its channel 1 sends. */
const ATTACKS: Record<string, (peer: Peer) => Promise<void>> = {
  "a queue": async (peer) => {
    const channel = peer.channel(1);
    await channel.send("queue.declare", { queue: "poison", ...DURABLE });
  },
  "an exchange": async (peer) => {
    const channel = peer.channel(1);
    await channel.send("exchange.declare", { exchange: "poison", type: "fanout", ...DURABLE });
  },
  "a binding": async (peer) => {
    const channel = peer.channel(1);
    const binding = { queue: "good", exchange: "amq.topic", routingKey: "poison" };
    await channel.send("queue.bind", binding);
  },
  "a message": async (peer) => {
    const channel = peer.channel(1);
    await channel.call("confirm.select");
    await channel.publish({ routingKey: "good" }, "poison", PERSISTENT);
  },
};

/** Data with a queue "good", changed by SQL. */
async function prepare(folder: string, sql: string): Promise<void> {
  {
    await using broker = await startHere({ folder });
    await using peer = await openPeer(broker.port);
    await (await peer.open()).call("queue.declare", { queue: "good", ...DURABLE });
  }
  change(folder, sql);
}

function change(folder: string, sql: string): void {
  const database = new DatabaseSync(`${folder}/broker.db`);
  database.exec(sql);
  database.close();
}

Deno.test("what cannot be stored ends its own connection, unanswered, and the others go on", async () => {
  await using dir = await tempDir();
  await prepare(
    dir.path,
    refuse("queue", "name") + ";" + refuse("exchange", "name") + ";" +
      refuse("binding", "routing_key") + ";" + refuseMessages(),
  );

  let confirmed = 0;
  {
    await using broker = await startHere({ folder: dir.path });
    await using bystander = await openPeer(broker.port);
    const channel = await bystander.open();
    await channel.call("confirm.select");
    for (const [what, attack] of Object.entries(ATTACKS)) {
      await using peer = await openPeer(broker.port);
      await peer.open();
      // In one turn, as far as it can be: the broker reads both before it commits.
      await Promise.all([
        attack(peer),
        ...Array.from(
          { length: 40 },
          (_, i) => channel.publish({ routingKey: "good" }, `${confirmed + i}`, PERSISTENT),
        ),
      ]);
      const { replyCode, replyText } = await peer.channel(0).expect("connection.close");
      assertEquals(replyCode, 541, what);
      assertMatch(replyText, /^INTERNAL_ERROR - .* cannot be stored$/);
      assertEquals(peer.channel(1).unread, 0, `${what} was answered`);
      confirmed += 40;
      for (let tag = 0; tag < confirmed;) tag = (await channel.expect("basic.ack")).deliveryTag;
    }
    const lines = broker.log.lines.filter((line) => /^cannot store what a client sent/.test(line));
    assertEquals(lines.length, Object.keys(ATTACKS).length);
    assertMatch(lines[0]!, /"what":"queue \\"poison\\"","reason":"CHECK constraint failed: queue"/);

    const { messageCount } = await channel.call("queue.declare", { queue: "good", passive: true });
    assertEquals(messageCount, confirmed, "what was refused is not counted");

    const probe = await bystander.open(2);
    await probe.send("queue.declare", { queue: "poison", passive: true });
    await probe.expectClose(404, /no queue/);
    const other = await bystander.open(3);
    await other.publish({ exchange: "amq.topic", routingKey: "poison", mandatory: true }, "");
    await other.expect("basic.return");
  }
  await using broker = await startHere({ folder: dir.path });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  const { messageCount } = await channel.call("queue.declare", { queue: "good", passive: true });
  assertEquals(messageCount, confirmed);
});

for (const memoryBytes of [undefined, 0]) {
  const where = memoryBytes === undefined ? "in memory" : "in the file";
  Deno.test(`what cannot be stored does not stay in its queue, the others ${where}`, async () => {
    await using dir = await tempDir();
    await prepare(dir.path, refuseMessages());
    const limits = memoryBytes === undefined ? {} : { memoryBytes };
    await using broker = await startHere({ folder: dir.path, limits });
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    await channel.call("confirm.select");
    for (const body of ["1", "2"]) {
      await channel.publish({ routingKey: "good" }, body, PERSISTENT);
      await channel.expect("basic.ack");
    }
    {
      await using attacker = await openPeer(broker.port);
      const attacking = await attacker.open();
      await attacking.publish({ routingKey: "good" }, "poison", PERSISTENT);
      await channel.publish({ routingKey: "good" }, "3", PERSISTENT);
      await attacker.channel(0).expect("connection.close");
    }
    await channel.expect("basic.ack");
    const { messageCount } = await channel.call("queue.declare", { queue: "good", passive: true });
    assertEquals(messageCount, 3);
    const seen = [];
    for (let left = 3; left > 0;) {
      await channel.send("basic.get", { queue: "good", noAck: true });
      const { text, args } = await channel.expectContent("basic.get-ok");
      seen.push(text);
      left = args.messageCount;
    }
    assertEquals(seen.sort(), ["1", "2", "3"]);
    await channel.send("basic.get", { queue: "good" });
    await channel.expect("basic.get-empty");
  });
}

Deno.test("a dead letter that cannot be stored leaves its message where it is, dead", async () => {
  await using dir = await tempDir();
  // The letter has it, and its message does not.
  await prepare(dir.path, refuseMessages("x-death"));
  const letters = { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "good" };
  const bodies = ["expires", "at once"];
  {
    await using broker = await startHere({ folder: dir.path });
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    for (const [queue, args] of [["expiring", {}], ["full", { "x-max-length": 0 }]] as const) {
      await channel.call("queue.declare", {
        queue,
        ...DURABLE,
        arguments: { ...letters, ...args },
      });
    }
    await channel.call("confirm.select");
    await channel.publish({ routingKey: "expiring" }, bodies[0]!, {
      ...PERSISTENT,
      expiration: "20",
    });
    await channel.publish({ routingKey: "full" }, bodies[1]!, PERSISTENT);
    const refusals = () => broker.log.lines.filter((line) => /^cannot store/.test(line)).length;
    await waitUntil("both to be refused", () => refusals() >= 2);
    // A commit after the one that has refused.
    await channel.publish({ routingKey: "other" }, "");
    for (let tag = 0; tag < 3;) tag = (await channel.expect("basic.ack")).deliveryTag;
    for (const queue of ["good", "expiring", "full"]) {
      const { messageCount } = await channel.call("queue.declare", { queue, passive: true });
      assertEquals(messageCount, 0, queue);
    }
  }
  change(dir.path, "DROP TRIGGER refuse_message; DROP TRIGGER refuse_pack");
  await using broker = await startHere({ folder: dir.path });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  for (const queue of ["expiring", "full"]) {
    const { messageCount } = await channel.call("queue.declare", { queue, passive: true });
    assertEquals(messageCount, 0, "dead, and not ready");
  }
  await channel.call("basic.consume", { queue: "good", noAck: true });
  const seen = [];
  for (const _ of bodies) seen.push((await channel.expectContent()).text);
  assertEquals(seen.sort(), bodies.toSorted());
});

Deno.test("a dead letter of what is in memory alone is tried again, and keeps nobody from publishing", async () => {
  await using dir = await tempDir();
  await prepare(dir.path, refuseMessages("x-death"));
  await using broker = await startHere({ folder: dir.path });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  for (const overflow of ["drop-head", "reject-publish-dlx"]) {
    const letters = { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "good" };
    await channel.call("queue.declare", {
      queue: overflow,
      arguments: { ...letters, "x-max-length": 0, "x-overflow": overflow },
    });
  }
  await channel.call("confirm.select");
  await channel.publish({ routingKey: "reject-publish-dlx" }, "rejected", PERSISTENT);
  await channel.expect("basic.nack");
  await channel.publish({ routingKey: "drop-head" }, "dropped", PERSISTENT);
  await channel.expect("basic.ack");
  const refusals = () => broker.log.lines.filter((line) => /^cannot store/.test(line)).length;
  // The one that was rejected is nowhere, as its publisher was told.
  await waitUntil("the other is tried again", () => refusals() >= 3);
  await channel.publish({ routingKey: "good" }, "next", PERSISTENT);
  await channel.expect("basic.ack");
  assertEquals(broker.inside.alarms.reason, undefined);
});

Deno.test("consumers get what is there, however much, although nothing can be written", async () => {
  await using dir = await tempDir();
  await using broker = await startHere({ folder: dir.path });
  await using publisher = await openPeer(broker.port);
  const channel = await publisher.open();
  await channel.call("queue.declare", { queue: "q", ...DURABLE });
  const messages = Array.from(
    { length: 8_000 },
    (_, i) => ({ body: `${i}`, properties: PERSISTENT }),
  );
  await new Case("broker", broker.port).publish(channel, { routingKey: "q" }, ...messages);
  const store = broker.inside.store as Store;
  const { database } = store.file;
  database.exec("ALTER TABLE lane RENAME TO away");
  try {
    await channel.send("basic.get", { queue: "q" });
    await channel.expectContent("basic.get-ok");
    await waitUntil("a commit that fails", () => store.lastCommitFailed);
    await using peer = await openPeer(broker.port);
    const consumer = await peer.open();
    await consumer.call("basic.consume", { queue: "q", noAck: true });
    for (const { body } of messages.slice(1)) {
      assertEquals((await consumer.expectContent()).text, body);
    }
  } finally {
    database.exec("ALTER TABLE away RENAME TO lane");
  }
});
