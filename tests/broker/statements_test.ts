/** Statements are prepared once: SQLite prepares some anew with other values, and says nothing of it. */
import { assertEquals, assertGreater } from "@std/assert";
import type { DatabaseSync } from "node:sqlite";
import { Content } from "../../src/broker/message/content.ts";
import type { Message } from "../../src/broker/message/message.ts";
import { Lane } from "../../src/broker/queue/lane.ts";
import { MemoryUse } from "../../src/broker/queue/memory_use.ts";
import { DataFile } from "../../src/broker/store/file/data_file.ts";
import { Store } from "../../src/broker/store/store.ts";

/** What SQLite asks an authorizer about while it prepares, of what is none of these. */
const PRAGMA = 19;
const TRANSACTION = 22;
const ALLOW = 0;

interface Authorized extends DatabaseSync {
  setAuthorizer(ask: (action: number, ...about: (string | null)[]) => number): void;
}

const SIZES = [100, 100, 100, 700, 2_000, 20_000];

/** All that a queue does with its messages, with memory for none of them. */
function live(store: Store, lane: Lane, count: number): void {
  for (let n = 0; n < count; n++) {
    const content = new Content(new Uint8Array(SIZES[n % SIZES.length]!), 2, 20);
    lane.append({ content, persistent: true, priority: 0, expiration: undefined }, 0, true);
  }
  store.commit();
  const taken: Message[] = [];
  while (taken.length < count / 2 && lane.peek() !== undefined) {
    const message = lane.shift();
    message.content ?? store.load(message);
    taken.push(message);
  }
  for (const [n, message] of taken.entries()) {
    if (n % 3 === 0) message.countDelivery();
    if (n % 3 === 0) store.update(message);
    else store.remove(message);
  }
  store.commit();
  lane.putBack(taken.filter((_, n) => n % 3 === 0));
  while (lane.peek() !== undefined && lane.length > count / 4) store.remove(lane.shift());
  store.commit();
  lane.purge();
  store.commit();
  while (store.hasDiscarded) store.sweep();
}

Deno.test("what is done with messages prepares no statement again", () => {
  const store = new Store({ file: new DataFile(undefined), onFailure: () => {} });
  const lane = new Lane(store, new MemoryUse(0), 1, 0);
  let prepared: string[] = [];
  let transactions = 0;
  // Before anything else: setting it has all statements prepared again.
  (store.file.database as Authorized).setAuthorizer((action, ...about) => {
    if (action === TRANSACTION) transactions++;
    // A range is taken off the list when all of it is gone, which is seldom.
    else if (action !== PRAGMA && about[0] !== "discarded") {
      prepared.push(`${action} ${about.join(" ")}`);
    }
    return ALLOW;
  });
  // What is prepared when it is needed first.
  const counts = [500, 600, 50];
  for (const count of counts) live(store, lane, count);
  assertGreater(prepared.length, 0);
  prepared = [];
  for (const count of counts) live(store, lane, count);
  assertGreater(transactions, 10);
  assertEquals(prepared, []);
  store.close();
});
