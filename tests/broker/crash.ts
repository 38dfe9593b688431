/**
 * kill -9 under load, round after round on the same data: publishers with confirms, consumers that
 * acknowledge, reject and return, transactions, queues whose messages move by themselves, and queues
 * that are purged, or deleted and declared again, with deliveries of them unacknowledged. After
 * every start the broker's queues are compared with what its clients were told.
 */
import { type EmbeddedBroker, startBroker } from "../support/embedded.ts";
import { openPeer, type Peer, type PeerChannel, PeerGone } from "../support/protocol_peer.ts";
import { Random } from "../support/random.ts";
import { purge, renew } from "./crash_erasers.ts";
import { EXCHANGE, keyOf, nameOf, rename } from "./crash_names.ts";
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
};
const TARGETS = ["plain", "priority", "single", "work", "counted", "aging", "short", "before"];
const CONSUMED = ["plain", "priority", "single", "single", "work", "counted"];
/** Emptied after every round, and nothing of them may come back. */
const PURGED = ["rejected", "tired", "expired", "overflowed", "after"];

const PUBLISHERS = 3;
const WINDOW = 200;
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

/** Runs the rounds and counts what was promised and what was broken. */
export async function crash({ rounds, seed, say, args = [] }: CrashOptions): Promise<Verdict> {
  const random = new Random(seed);
  rename(seed);
  const verdict = noVerdict();
  const ledger = new Ledger();
  await using broker = await startBroker({ args });
  await declare(broker.port);
  for (let round = 1; round <= rounds; round++) {
    await load(broker, ledger, `${round}`, random);
    await broker.start();
    // It may have been killed between the deletion of a queue and its declaration.
    await declare(broker.port);
    const found = await readQueues(broker.port);
    ledger.compare(found, verdict, say);
    ledger.purged(await empty(broker.port));
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
  const limit = { "x-max-length": 1 };
  await channel.call("queue.declare", { queue: nameOf("marks"), durable: true, arguments: limit });
}

/** One round of load, ended by SIGKILL. */
async function load(
  broker: EmbeddedBroker,
  ledger: Ledger,
  round: string,
  random: Random,
): Promise<void> {
  const enough = ledger.afterConfirms(200 + random.below(8_000));
  const clients: Client[] = [
    ...Array.from({ length: PUBLISHERS }, (_, i) => publisher(ledger, `${round}.${i}`, random)),
    ...CONSUMED.map((queue) => consumer(ledger, queue, random)),
    transactions(ledger, round),
    transient(ledger, round),
    (peer) => purge(peer, ledger, round, random),
    (peer) => renew(peer, ledger, round, random),
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
  killed = true;
  await broker.kill();
  await Promise.all(running);
}

function isConnectionLoss(error: unknown): boolean {
  return error instanceof PeerGone || error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.BadResource;
}

type Client = (peer: Peer) => Promise<void>;

function publisher(ledger: Ledger, name: string, random: Random): Client {
  return async (peer) => {
    const channel = await peer.open();
    await channel.call("confirm.select");
    const waiting: string[] = [];
    let confirmed = 0;
    for (let number = 1;; number++) {
      const id = `${name}.${number}`;
      const queue = random.pick(TARGETS);
      const persistent = random.below(10) > 0;
      ledger.published(id, queue, persistent || isQuorum(queue));
      waiting.push(id);
      const properties = { deliveryMode: persistent ? 2 : 1, priority: random.below(6) };
      const target = random.below(2) > 0
        ? { routingKey: nameOf(queue) }
        : { exchange: EXCHANGE, routingKey: keyOf(queue) };
      await channel.publish(target, bodyOf(id, random), properties);
      while (waiting.length >= WINDOW || channel.unread > 0) {
        const { deliveryTag } = await channel.expect("basic.ack");
        for (; confirmed < deliveryTag; confirmed++) ledger.confirmed(waiting.shift()!);
      }
    }
  };
}

/** Its messages survive, whatever their delivery mode. */
function isQuorum(queue: string): boolean {
  return QUEUES[queue]!["x-queue-type"] === "quorum";
}

/** Mostly short; some are large enough to be kept on disk alone. */
function bodyOf(id: string, random: Random): string {
  return id.padEnd(random.below(50) === 0 ? 40_000 : random.below(300));
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

async function openReaders(peer: Peer, queues: string[]): Promise<Reader[]> {
  const readers: Reader[] = [];
  for (const queue of queues) {
    const channel = await peer.open(readers.length + 1);
    await channel.call("basic.consume", { queue: nameOf(queue), consumerTag: "reader" });
    readers.push(new Reader(queue, channel));
  }
  return readers;
}

/** Dead letters move piece by piece, and nobody can see those that are on their way. */
const QUIET_ROUNDS = 5;

async function readAll(readers: Reader[]): Promise<void> {
  for (let quiet = 0; quiet < QUIET_ROUNDS;) {
    quiet++;
    for (const reader of readers) if (await reader.read()) quiet = 0;
  }
}

/** Consumes a queue without acknowledging. */
class Reader {
  readonly ids: string[] = [];

  constructor(readonly queue: string, readonly channel: PeerChannel) {}

  /** Takes what is there. @returns whether there was something */
  async read(): Promise<boolean> {
    const before = this.ids.length;
    let left: number;
    do {
      await this.channel.send("queue.declare", { queue: nameOf(this.queue), passive: true });
      left = (await this.#until("queue.declare-ok")).messageCount;
    } while (left > 0);
    return this.ids.length > before;
  }

  /** Ends, and takes what was read away for ever. */
  async take(): Promise<void> {
    await this.channel.send("basic.cancel", { consumerTag: "reader" });
    await this.#until("basic.cancel-ok");
    await this.channel.send("basic.ack", { deliveryTag: 0, multiple: true });
    await this.channel.call("channel.close");
  }

  async #until(wanted: string) {
    for (;;) {
      const { name, args } = await this.channel.method();
      if (name === wanted) return args;
      if (name !== "basic.deliver") throw new Error(`Expected ${wanted}, got ${name}`);
      this.ids.push((await this.channel.readContent(args)).text.trim());
    }
  }
}

/** @returns the ids that are gone for ever */
async function empty(port: number): Promise<string[]> {
  await using peer = await openPeer(port);
  const readers = await openReaders(peer, PURGED);
  await readAll(readers);
  for (const reader of readers) await reader.take();
  // Its answer comes after the commit of the acknowledgements.
  const channel = await peer.open(readers.length + 1);
  await channel.call("queue.purge", { queue: nameOf("marks") });
  return readers.flatMap(({ ids }) => ids);
}
