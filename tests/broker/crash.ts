/**
 * kill -9 under load, round after round on the same data: publishers with confirms, consumers that
 * acknowledge, reject and return, transactions, queues whose messages move by themselves, queues
 * that are purged, or deleted and declared again, with deliveries of them unacknowledged, copies in
 * several queues, queues without duplicates, letters that are kept, pauses, and backups. After
 * every start the broker's queues are compared with what its clients were told.
 */
import { type EmbeddedBroker, startBroker } from "../support/embedded.ts";
import { openPeer, type Peer, PeerGone } from "../support/protocol_peer.ts";
import { Random } from "../support/random.ts";
import { purge, renew } from "./crash_erasers.ts";
import { Backup } from "./crash_backup.ts";
import { FAN_EXCHANGE, fanOut, FANS, ONCE, Repeater } from "./crash_copies.ts";
import { Letters } from "./crash_letters.ts";
import { EXCHANGE, keyOf, nameOf, rename } from "./crash_names.ts";
import { PAUSED, Pauses } from "./crash_pauses.ts";
import { bodyOf, publishForEver } from "./crash_publishing.ts";
import { openReaders, readAll, takeAll } from "./crash_reading.ts";
import { Ledger, noVerdict, type Verdict } from "./ledger.ts";

/** A queue whose dead letters go to another one. */
const DEAD_TO = "x-dead-letter-routing-key";
const deadTo = (queue: string) => ({ "x-dead-letter-exchange": "", [DEAD_TO]: queue });

/** A message moves from a queue only to one further down: they are read in this order. */
const QUEUES: Record<string, Record<string, string | number | boolean>> = {
  plain: {},
  priority: { "x-max-priority": 5 },
  single: { "x-single-active-consumer": true },
  work: { "x-queue-type": "quorum", ...deadTo("rejected") },
  counted: { "x-queue-type": "quorum", "x-delivery-limit": 2, ...deadTo("tired") },
  aging: { "x-message-ttl": 40, ...deadTo("expired") },
  short: { "x-max-length": 20, ...deadTo("overflowed") },
  deep: {},
  renewed: {},
  before: {},
  rejected: { "x-queue-type": "quorum" },
  tired: { "x-queue-type": "quorum" },
  expired: {},
  overflowed: {},
  after: {},
  [PAUSED]: {},
  [ONCE]: { "x-message-deduplication": true, "x-cache-size": 100_000 },
  ...Object.fromEntries(FANS.map((name, n) => [name, n === 1 ? { "x-queue-type": "quorum" } : {}])),
};
const TARGETS = [
  ...["plain", "priority", "single", "work", "counted", "aging", "short", "before"],
  PAUSED,
];
const CONSUMED = ["plain", "priority", "single", "single", "work", "counted", PAUSED];
/** Emptied after every round, and nothing of them may come back. */
const PURGED = ["rejected", "tired", "expired", "overflowed", "after", ONCE, ...FANS];

const PUBLISHERS = 3;
const PREFETCH = 100;
/** Deliveries between two publishes whose confirm says that the acknowledgements are committed. */
const MARK_EVERY = 20;

export interface CrashOptions {
  rounds: number;
  seed: number;
  /** Told about violations and rounds. */
  say: (sentence: string) => void;
  args?: readonly string[];
}

/** Rounds between two backups, and looks at letters that were kept; and always in the last one. */
const SELDOM = 10;

/** Clients that go on in the next round. */
interface Lasting {
  readonly repeater: Repeater;
  readonly letters: Letters;
  readonly pauses: Pauses;
}

/** Runs the rounds and counts what was promised and what was broken. */
export async function crash({ rounds, seed, say, args = [] }: CrashOptions): Promise<Verdict> {
  const random = new Random(seed);
  rename(seed);
  const verdict = noVerdict();
  const ledger = new Ledger();
  const lasting = { repeater: new Repeater(), letters: new Letters(), pauses: new Pauses() };
  const { letters, pauses } = lasting;
  await using broker = await startBroker({ args: ["--http", "0", ...args] });
  await declare(broker.port);
  await letters.declare(broker.port);
  for (let round = 1; round <= rounds; round++) {
    const isSeldom = round === rounds || round % SELDOM === 0;
    const backup = await load(broker, ledger, lasting, `${round}`, random, isSeldom);
    await broker.start();
    // It may have been killed between the deletion of a queue and its declaration.
    await declare(broker.port);
    if (!await pauses.resume(broker)) verdict.forgotten++, say("forgotten: a pause or its end");
    const found = await readQueues(broker.port);
    ledger.compare(found, verdict, say);
    ledger.purged(await empty(broker.port));
    if (isSeldom) await letters.compare(broker.port, verdict, say);
    await backup?.compare(
      async (restored) => {
        await declare(restored.port);
        await pauses.resume(restored);
        return await readQueues(restored.port);
      },
      verdict,
      say,
    );
  }
  return verdict;
}

async function declare(port: number): Promise<void> {
  await using peer = await openPeer(port);
  const channel = await peer.open();
  await channel.call("exchange.declare", { exchange: EXCHANGE, type: "direct", durable: true });
  for (const [name, args] of Object.entries(QUEUES)) {
    const queue = nameOf(name);
    const target = args[DEAD_TO];
    const named = target === undefined ? args : { ...args, [DEAD_TO]: nameOf(`${target}`) };
    await channel.call("queue.declare", { queue, durable: true, arguments: named });
    await channel.call("queue.bind", { queue, exchange: EXCHANGE, routingKey: keyOf(name) });
  }
  await channel.call("exchange.declare", {
    exchange: FAN_EXCHANGE,
    type: "fanout",
    durable: true,
  });
  for (const name of FANS) {
    await channel.call("queue.bind", { queue: nameOf(name), exchange: FAN_EXCHANGE });
  }
  const limit = { "x-max-length": 1 };
  await channel.call("queue.declare", { queue: nameOf("marks"), durable: true, arguments: limit });
}

/** One round of load, ended by SIGKILL. @returns what was backed up meanwhile */
async function load(
  broker: EmbeddedBroker,
  ledger: Ledger,
  { repeater, letters, pauses }: Lasting,
  round: string,
  random: Random,
  isBackedUp: boolean,
): Promise<Backup | undefined> {
  const enough = ledger.afterConfirms(200 + random.below(8_000));
  const clients: Client[] = [
    ...Array.from({ length: PUBLISHERS }, (_, i) => publisher(ledger, `${round}.${i}`, random)),
    ...CONSUMED.map((queue) => consumer(ledger, queue, random)),
    transactions(ledger, round),
    transient(ledger, round),
    (peer) => purge(peer, ledger, round, random),
    (peer) => renew(peer, ledger, round, random),
    (peer) => fanOut(peer, ledger, round, random),
    (peer) => repeater.run(peer, ledger, round, random),
    (peer) => letters.publish(peer, round, random),
    (peer) => letters.turn(peer, random),
    () => pauses.run(broker, random),
  ];
  let killed = false;
  const running = clients.map(async (client) => {
    await using peer = await openPeer(broker.port);
    try {
      await client(peer);
    } catch (error) {
      if (!killed || !isConnectionLoss(error)) throw error;
    }
  });
  await Promise.race([enough, Promise.all(running)]);
  const backup = isBackedUp ? await Backup.make(broker, ledger) : undefined;
  killed = true;
  await broker.kill();
  await Promise.all(running);
  return backup;
}

function isConnectionLoss(error: unknown): boolean {
  return error instanceof PeerGone || error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.BadResource;
}

type Client = (peer: Peer) => Promise<void>;

function publisher(ledger: Ledger, name: string, random: Random): Client {
  return async (peer) =>
    await publishForEver(peer, ledger, (number) => {
      const id = `${name}.${number}`;
      const queue = random.pick(TARGETS);
      const persistent = random.below(10) > 0;
      ledger.published(id, queue, persistent || isQuorum(queue));
      const properties = { deliveryMode: persistent ? 2 : 1, priority: random.below(6) };
      const target = random.below(2) > 0
        ? { routingKey: nameOf(queue) }
        : { exchange: EXCHANGE, routingKey: keyOf(queue) };
      return { ids: [id], target, body: bodyOf(id, random), properties };
    });
}

/** Its messages survive, whatever their delivery mode. */
function isQuorum(queue: string): boolean {
  return QUEUES[queue]!["x-queue-type"] === "quorum";
}

function consumer(ledger: Ledger, queue: string, random: Random): Client {
  return async (peer) => {
    const channel = await peer.open();
    await channel.call("confirm.select");
    await channel.call("basic.qos", { prefetchCount: PREFETCH });
    await channel.call("basic.consume", { queue: nameOf(queue) });
    let acked: string[] = [];
    const marks: string[][] = [];
    let confirmed = 0;
    for (let number = 1;; number++) {
      const { name, args } = await channel.method();
      if (name === "basic.ack") {
        for (; confirmed < args.deliveryTag; confirmed++) ledger.settled(marks.shift()!);
        continue;
      }
      const id = (await channel.readContent(args)).text.trim();
      const { deliveryTag } = args;
      const outcome = outcomeOf(queue, random);
      if (outcome === "ack") {
        ledger.acked(id);
        acked.push(id);
        await channel.send("basic.ack", { deliveryTag });
      } else {
        await channel.send("basic.nack", { deliveryTag, requeue: outcome === "requeue" });
      }
      if (number % MARK_EVERY > 0) continue;
      marks.push(acked);
      acked = [];
      await channel.publish({ routingKey: nameOf("marks") }, "", { deliveryMode: 2 });
    }
  };
}

function outcomeOf(queue: string, random: Random): "ack" | "reject" | "requeue" {
  if (queue === "counted") return "requeue";
  if (queue === "work") return random.pick(["ack", "ack", "ack", "reject", "requeue"]);
  return "ack";
}

/** Takes one message off `before` and puts two onto `after`, in one commit. */
function transactions(ledger: Ledger, round: string): Client {
  return async (peer) => {
    const channel = await peer.open();
    await channel.call("basic.qos", { prefetchCount: 1 });
    await channel.call("tx.select");
    await channel.call("basic.consume", { queue: nameOf("before") });
    for (let number = 1;; number++) {
      const { text, args } = await channel.expectContent();
      const published = [`${round}.tx.${number}.a`, `${round}.tx.${number}.b`];
      const committed = ledger.transaction(text.trim(), published);
      for (const id of published) {
        await channel.publish({ routingKey: nameOf("after") }, id, { deliveryMode: 2 });
      }
      await channel.send("basic.ack", { deliveryTag: args.deliveryTag });
      await channel.call("tx.commit");
      committed();
    }
  };
}

/** A queue that is gone with the process, whatever is in it. */
function transient(ledger: Ledger, round: string): Client {
  return async (peer) => {
    const channel = await peer.open();
    await channel.call("queue.declare", { queue: nameOf("transient") });
    await channel.call("confirm.select");
    for (let number = 1;; number++) {
      const id = `${round}.transient.${number}`;
      ledger.published(id, "transient", false);
      await channel.publish({ routingKey: nameOf("transient") }, id, { deliveryMode: 2 });
      await channel.expect("basic.ack");
    }
  };
}

/** Ids by queue. Nothing is acknowledged, and nothing can move on after it was read. */
async function readQueues(port: number): Promise<Map<string, string[]>> {
  await using peer = await openPeer(port);
  const readers = await openReaders(peer, Object.keys(QUEUES));
  await readAll(readers);
  const probe = await peer.open(readers.length + 1);
  await probe.send("queue.declare", { queue: nameOf("transient"), passive: true });
  await probe.expectClose(404, /no queue/);
  return new Map(readers.map(({ queue, ids }) => [queue, ids]));
}

/** @returns the ids that are gone for ever */
async function empty(port: number): Promise<string[]> {
  await using peer = await openPeer(port);
  const readers = await openReaders(peer, PURGED);
  await readAll(readers);
  const gone = await takeAll(readers);
  // Its answer comes after the commit of the acknowledgements.
  const channel = await peer.open(readers.length + 1);
  await channel.call("queue.purge", { queue: nameOf("marks") });
  return gone;
}
