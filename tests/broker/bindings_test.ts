/** Bindings that go with what they bind, however many: in memory, and in the data file. */
import { assert, assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { Bindings } from "../../src/broker/routing/bindings.ts";
import { DefinitionRoom } from "../../src/broker/queue/definition_room.ts";
import { Exchange } from "../../src/broker/routing/exchange.ts";
import { DataFile } from "../../src/broker/store/file/data_file.ts";
import { Store } from "../../src/broker/store/store.ts";
import { startBroker } from "../support/embedded.ts";
import { openPeer } from "../support/protocol_peer.ts";

function exchange(name: string): Exchange {
  const flags = { durable: true, autoDelete: false, internal: false };
  return new Exchange({ vhost: "/", name, type: "topic", ...flags, table: new Map() });
}

Deno.test("bindings are the same when all that they say is, whatever characters are in it", () => {
  const store = new Store({ file: new DataFile(undefined), onFailure: () => {} });
  const bindings = new Bindings("/", store.changes, new DefinitionRoom(Infinity));
  const source = exchange("source");
  const ends = ["", "a", "ab", "a1 b", "1 1 a"].map(exchange);
  const keys = ["", "b", "1", "1 b", "b\0", "\u20ac"];
  const args = [[0, 0, 0, 0], [0, 0, 0, 1, 0x80], [0, 0, 0, 1, 0x20], [0, 0, 0, 1, 0xac]];
  const add = () =>
    ends.flatMap((destination) =>
      keys.flatMap((routingKey) =>
        args.map((bytes) => {
          const rest = { arguments: new Map(), argumentBytes: new Uint8Array(bytes) };
          return bindings.add({ source, destination, routingKey, ...rest });
        })
      )
    );
  assert(add().every((isNew) => isNew));
  assert(add().every((isNew) => !isNew));
  store.close();
});

Deno.test("very many bindings go with one change of the data file", () => {
  const store = new Store({ file: new DataFile(undefined), onFailure: () => {} });
  const bindings = new Bindings("/", store.changes, new DefinitionRoom(Infinity));
  const [source, destination] = [exchange("source"), exchange("destination")];
  const bind = () => {
    for (let i = 0; i < 1_000; i++) {
      const rest = { arguments: new Map(), argumentBytes: new Uint8Array() };
      bindings.add({ source, destination, routingKey: `a.${i}`, ...rest });
    }
    store.commit();
  };
  for (const remove of [() => bindings.removeFrom(source), () => bindings.removeTo(destination)]) {
    bind();
    remove();
    assertEquals(store.changes.pendingRows, 1);
    assertEquals([source.isUsed, [...bindings.to(destination)]], [false, []]);
    store.commit();
  }
  store.close();
});

Deno.test("a queue that very many exchanges lead to leaves no binding in the data file, and those of others", () => {
  const database = new DataFile(undefined);
  const store = new Store({ file: database, onFailure: () => {} });
  const bindings = new Bindings("/", store.changes, new DefinitionRoom(Infinity));
  const [gone, kept] = [exchange("gone"), exchange("kept")];
  const rest = { routingKey: "key", arguments: new Map(), argumentBytes: new Uint8Array() };
  const count = 2_000;
  for (let i = 0; i < count; i++) {
    for (const destination of [gone, kept]) {
      bindings.add({ source: exchange(`e${i}`), destination, ...rest });
    }
  }
  store.commit();
  assertEquals(bindings.removeTo(gone).size, count);
  assertEquals(store.changes.pendingRows, 1);
  assertEquals(
    store.changes.isSaved("/", { source: "e7", kind: "exchange", destination: "gone" }),
    false,
  );
  store.commit();
  const rows = database.database.prepare("SELECT destination FROM binding").all();
  const names = new Set(
    rows.map(({ destination }) => new TextDecoder().decode(destination as Uint8Array)),
  );
  assertEquals([rows.length, [...names]], [count, ["kept"]]);
  store.close();
});

Deno.test("bindings go with their exchange, or with what they lead to, and others stay", async () => {
  await using broker = await startBroker();
  const bindings = () => {
    const database = new DatabaseSync(`${broker.data}/broker.db`);
    const rows = database.prepare("SELECT * FROM binding ORDER BY source, destination").all();
    database.close();
    return rows.map(({ source, destination }) =>
      [source, destination].map((name) => new TextDecoder().decode(name as Uint8Array)).join(" ")
    );
  };
  {
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    for (const name of ["x", "y", "z"]) {
      await channel.call("exchange.declare", { exchange: name, type: "topic", durable: true });
    }
    for (const queue of ["p", "q"]) await channel.call("queue.declare", { queue, durable: true });
    for (const source of ["x", "y", "z"]) {
      for (const queue of ["p", "q"]) {
        for (const routingKey of ["a", "b.#"]) {
          await channel.call("queue.bind", { queue, exchange: source, routingKey });
        }
      }
    }
    await channel.call("exchange.bind", { source: "x", destination: "y", routingKey: "c" });
    await channel.call("exchange.bind", { source: "y", destination: "x", routingKey: "c" });
    await channel.call("exchange.delete", { exchange: "x" });
    await channel.call("queue.delete", { queue: "p" });
    await broker.kill();
  }
  assertEquals(bindings(), ["y q", "y q", "z q", "z q"]);
  await broker.start();
  {
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    await channel.publish({ exchange: "y", routingKey: "a" }, "routed");
    const { messageCount } = await channel.call("queue.purge", { queue: "q" });
    assertEquals(messageCount, 1);
  }
  await broker.stop();
});
