/** Messages that came back: their order, and how often they did, over a restart too. */
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { Content } from "../../src/broker/message/content.ts";
import type { Message } from "../../src/broker/message/message.ts";
import { Lane } from "../../src/broker/queue/lane.ts";
import { Returned } from "../../src/broker/queue/returned.ts";
import { MemoryUse } from "../../src/broker/queue/memory_use.ts";
import { DataFile } from "../../src/broker/store/file/data_file.ts";
import { GroupCommit } from "../../src/broker/store/group_commit.ts";
import { Store } from "../../src/broker/store/store.ts";
import { openPeer } from "../support/protocol_peer.ts";
import { Random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";
import { startHere } from "./harness.ts";

const COUNT = 60;
const ROUNDS = 5;

Deno.test("what comes back is in order, alone or with others, in whatever order it came", () => {
  const random = new Random(7);
  for (let run = 0; run < 200; run++) {
    const returned = new Returned();
    let left = random.list(40, () => ({ position: random.below(1_000) }) as Message);
    const here: Message[] = [];
    for (let step = 0; step < 60; step++) {
      const coming = left.splice(0, random.below(5));
      if (random.below(2) === 0) coming.sort((one, other) => one.position - other.position);
      returned.add(coming);
      here.push(...coming);
      here.sort((one, other) => one.position - other.position);
      const some = here[random.below(here.length + 1)];
      if (some !== undefined && random.below(8) === 0) {
        assert(returned.delete(some));
        here.splice(here.indexOf(some), 1);
        left = [...left, some];
      }
      if (random.below(8) === 0) {
        assertEquals(returned.all.toReversed().map(positionOf), here.map(positionOf));
      }
      assertEquals(returned.first?.position, here[0]?.position);
      if (random.below(2) === 0) {
        const first = returned.shift();
        assertEquals(first?.position, here[0]?.position);
        if (first !== undefined) here.splice(here.indexOf(first), 1);
      }
      assertEquals(returned.length, here.length);
    }
  }
});

function positionOf({ position }: Message): number {
  return position;
}

Deno.test("delivery counts are those of each message after a restart, in runs and by themselves", async () => {
  await using dir = await tempDir();
  const random = new Random(11);
  const expected = new Map<string, number>();
  const queues = ["a", "b"];
  {
    await using broker = await startHere({ folder: dir.path });
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    for (const queue of queues) {
      const args = { "x-queue-type": "quorum" };
      await channel.call("queue.declare", { queue, durable: true, arguments: args });
      for (let n = 0; n < COUNT; n++) {
        await channel.publish({ routingKey: queue }, `${queue}${n}`, { deliveryMode: 2 });
        expected.set(`${queue}${n}`, 0);
      }
    }
    await channel.call("confirm.select");
    for (let round = 0; round < ROUNDS; round++) {
      const held: [text: string, deliveryTag: number][] = [];
      for (const queue of queues) {
        const most = random.below([...expected.keys()].filter((text) => text[0] === queue).length);
        for (let n = 0; n < most; n++) {
          await channel.send("basic.get", { queue });
          const { text, args } = await channel.expectContent("basic.get-ok");
          held.push([text, args.deliveryTag]);
        }
      }
      for (const [text, deliveryTag] of held) {
        if (random.below(8) > 0) {
          await channel.send("basic.nack", { deliveryTag, requeue: true });
          expected.set(text, expected.get(text)! + 1);
        } else {
          await channel.send("basic.ack", { deliveryTag });
          expected.delete(text);
        }
      }
      // A commit between, or all of them in one.
      if (round % 2 === 0) {
        await channel.publish({ routingKey: "nowhere" });
        await channel.expect("basic.ack");
      }
    }
    await channel.call("basic.qos", {});
  }
  await using broker = await startHere({ folder: dir.path });
  await using peer = await openPeer(broker.port);
  const channel = await peer.open();
  const found = new Map<string, number>();
  for (const [text] of expected) {
    await channel.send("basic.get", { queue: text[0], noAck: true });
    const { text: got, properties } = await channel.expectContent("basic.get-ok");
    found.set(got, Number(properties.headers?.["x-delivery-count"]));
  }
  assertEquals(found, expected);
});

const MANY = 5_000;
/** Of which a commit writes about so many counts, if no two beside one another are the same. */
const AT_ONCE = 2_000;

/** Small enough for packs, and with rows of their own, in turn. */
const sizeOf = (n: number) => n % 200 < 100 ? 100 : 1_500;

function openLane(
  folder: string,
  onChange: () => void,
): { store: Store; lane: Lane } {
  const store = new Store({ file: new DataFile(folder), onFailure: () => {}, onChange });
  const [stored] = store.lanes();
  const lane = new Lane(store, new MemoryUse(Infinity), 1, 0, stored?.id);
  if (stored !== undefined) lane.restore(stored);
  return { store, lane };
}

function takeAll(lane: Lane): Message[] {
  const all: Message[] = [];
  while (lane.peek() !== undefined) all.push(lane.shift());
  return all;
}

Deno.test("counts of very many that came back are written some at a time, and all in the end", async () => {
  await using dir = await tempDir();
  let changes = 0;
  const counts: number[] = [];
  {
    const { store, lane } = openLane(dir.path, () => void changes++);
    for (let n = 0; n < MANY; n++) {
      const content = new Content(new Uint8Array(sizeOf(n)), 2, 20);
      lane.append({ content, persistent: true, priority: 0, expiration: undefined }, 0, true);
    }
    store.commit();
    const all = takeAll(lane);
    const comeBack = (some: readonly Message[]) => {
      for (const message of some) {
        message.countDelivery();
        store.update(message);
      }
    };
    const counted = () => {
      const rows = store.file.database
        .prepare("SELECT count(*) FROM message WHERE deliveries = 2").get()!;
      return Number(Object.values(rows)[0]);
    };
    // Of all that are equal one commit writes all.
    comeBack(all);
    store.commit();
    assertEquals(store.dirty, false);

    comeBack(all.filter((_, n) => n % 2 === 0));
    let commits = 0;
    for (let before = 0; store.dirty; commits++) {
      changes = 0;
      store.commit();
      assertLess(counted() - before, 1.1 * AT_ONCE);
      before = counted();
      // Whoever makes the next commit hears of it; what is left does not make it one that is full.
      assert(!store.dirty || (changes > 0 && !store.isFull));
      // Meanwhile some are done.
      if (commits === 0) { for (const message of all.splice(-2)) store.remove(message); }
    }
    assertGreater(commits, MANY / 2 / AT_ONCE);
    assertEquals(counted(), all.length / 2);
    // At the end there is no later.
    comeBack(all.filter((_, n) => n % 2 === 0));
    await new GroupCommit(store, { run() {} }).stop();
    assertEquals(store.dirty, false);
    for (const { deliveries } of all) counts.push(deliveries);
    store.close();
  }
  const { store, lane } = openLane(dir.path, () => {});
  assertEquals(takeAll(lane).map(({ deliveries }) => deliveries), counts);
  store.close();
});
