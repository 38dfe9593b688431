/** What the store refuses for its data ends one connection, and stops nobody else. */
import { assertEquals, assertMatch } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { openPeer, type Peer } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { startHere } from "./harness.ts";

const PERSISTENT = { deliveryMode: 2 };

/** SQL that makes a table refuse rows with the text in a column. */
function refuse(table: string, column: string): string {
  return `CREATE TRIGGER refuse_${table} BEFORE INSERT ON ${table}
    WHEN instr(NEW.${column}, CAST('poison' AS BLOB)) > 0
    BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: ${table}'); END`;
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

Deno.test("what cannot be stored ends its own connection, unanswered, and the others go on", async () => {
  await using dir = await tempDir();
  {
    await using broker = await startHere({ folder: dir.path });
    await using peer = await openPeer(broker.port);
    await (await peer.open()).call("queue.declare", { queue: "good", ...DURABLE });
  }
  const database = new DatabaseSync(dir.file("broker.db"));
  database.exec(refuse("queue", "name"));
  database.exec(refuse("exchange", "name"));
  database.exec(refuse("binding", "routing_key"));
  database.exec(refuse("message", "content"));
  database.close();

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
