/** Chains of auto-delete exchanges that have lost their last binding, and a crash while they go. */
import { assert, assertEquals } from "@std/assert";
import { MemoryUse } from "../../src/broker/queue/memory_use.ts";
import type { QueueHost } from "../../src/broker/queue/host.ts";
import type { Queue } from "../../src/broker/queue/queue.ts";
import { restore } from "../../src/broker/routing/restoring.ts";
import { VirtualHost } from "../../src/broker/routing/virtual_host.ts";
import { DataFile } from "../../src/broker/store/file/data_file.ts";
import { Store } from "../../src/broker/store/store.ts";
import { Deadlines } from "../../src/time/deadlines.ts";
import type { Work } from "../../src/time/scheduler.ts";
import { tempDir } from "../support/temp.ts";

function fail(error: unknown): never {
  throw error;
}

/** A virtual host whose work is done when somebody wants it. */
function open(folder: string) {
  const store = new Store({ file: new DataFile(folder), onFailure: fail });
  const deadlines = new Deadlines(fail);
  const works = new Set<Work>();
  const host = {
    store,
    deadlines,
    memory: new MemoryUse(Infinity),
    scheduler: { add: (work: Work) => void works.add(work) },
    sendDeadLetters: () => {},
  } as unknown as QueueHost<Queue>;
  const vhost = new VirtualHost("/", host);
  restore(store, { restore: () => fail(new Error("there are no dead letters")) }, () => vhost);
  return {
    vhost,
    store,
    /** A piece of each work. */
    workALittle(): void {
      for (const work of [...works]) if (!work.work({ isOver: true })) works.delete(work);
    },
    workToEnd(): number {
      let pieces = 0;
      for (; works.size > 0; pieces++) this.workALittle();
      store.commit();
      return pieces;
    },
    [Symbol.dispose](): void {
      deadlines.stop();
      store.close();
    },
  };
}

type Opened = ReturnType<typeof open>;

function declare({ vhost }: Opened, name: string, autoDelete = true): void {
  vhost.declareExchange({
    name,
    type: "fanout",
    durable: true,
    autoDelete,
    internal: false,
    table: new Map(),
  });
}

function bind({ vhost }: Opened, source: string, destination: string): void {
  const rest = { routingKey: "", arguments: new Map(), connectionId: 0 };
  vhost.bind({ source, destination, kind: "exchange", ...rest });
}

function declareQueue({ vhost }: Opened, name: string): void {
  const flags = { durable: true, exclusive: false, autoDelete: false };
  vhost.declareQueue(name, flags, new Map(), 0);
}

function namesOf({ store }: Opened): string[] {
  const rows = store.file.database.prepare("SELECT name FROM exchange ORDER BY name").all();
  return rows.map(({ name }) => new TextDecoder().decode(name as Uint8Array));
}

/** Numbers with as many digits. */
const numbers = (count: number) => Array.from({ length: count }, (_, n) => `${n}`.padStart(5, "0"));

const COUNT = 1_000;

Deno.test("a long chain of durable auto-delete exchanges goes on going after a crash", async () => {
  await using dir = await tempDir();
  const chain = numbers(COUNT);
  {
    using broker = open(dir.path);
    for (const [at, name] of chain.entries()) {
      declare(broker, name);
      if (at > 0) bind(broker, chain[at - 1]!, name);
    }
    declare(broker, "end", false);
    bind(broker, chain.at(-1)!, "end");
    declare(broker, "never bound");
    broker.store.commit();
    broker.vhost.deleteExchange("end", false);
    broker.store.commit();
    const left = namesOf(broker).length;
    assert(left > 2 && left < COUNT, `${left} are left`);
    broker.workALittle();
    broker.store.commit();
    assert(namesOf(broker).length < left);
  }
  using broker = open(dir.path);
  assert(namesOf(broker).length > 2);
  assert(broker.workToEnd() > 1);
  assertEquals(namesOf(broker), ["never bound"]);
  assertEquals(broker.vhost.findExchange(chain[0]!), undefined);
});

Deno.test("very many exchanges that a queue was bound to go after a crash, but for one that was bound again", async () => {
  await using dir = await tempDir();
  const sources = numbers(COUNT);
  {
    using broker = open(dir.path);
    const { vhost } = broker;
    declareQueue(broker, "queue");
    declare(broker, "other", false);
    const rest = { routingKey: "", arguments: new Map(), connectionId: 0 };
    for (const source of sources) {
      declare(broker, source);
      vhost.bind({ source, destination: "queue", kind: "queue", ...rest });
    }
    broker.store.commit();
    vhost.deleteQueue(vhost.findQueue("queue")!);
    broker.store.commit();
    bind(broker, sources.at(-1)!, "other");
    bind(broker, sources.at(-2)!, "other");
    broker.store.commit();
  }
  {
    using broker = open(dir.path);
    broker.workToEnd();
    assertEquals(namesOf(broker), [...sources.slice(-2), "other"]);
    // It is as before: without its binding it goes, and not before.
    broker.vhost.deleteExchange(sources.at(-1)!, false);
    broker.store.commit();
  }
  using broker = open(dir.path);
  assertEquals(broker.workToEnd(), 0);
  assertEquals(namesOf(broker), [sources.at(-2)!, "other"]);
  broker.vhost.deleteExchange("other", false);
  broker.workToEnd();
  assertEquals(namesOf(broker), []);
});
