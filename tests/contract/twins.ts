/**
 * Twins: one random history of publishes, consumers, settlements and ends of channels and
 * connections, told to two brokers; after every step both must have shown the same to their clients.
 * A history follows from its seed.
 *
 * Left out is what RabbitMQ itself leaves open: which of several consumers gets a message, and in
 * which order messages of several queues come to one.
 *
 * Usage: deno task twins [HISTORIES [SEED]]
 */
import { startBroker } from "../support/embedded.ts";
import type { Arguments } from "../support/methods.ts";
import { openPeer, type Peer, type PeerChannel, PeerGone } from "../support/protocol_peer.ts";
import { startRabbitmq } from "../support/rabbitmq.ts";
import { uniqueName } from "../support/temp.ts";
import { within } from "../support/wait.ts";
import type { Table } from "../support/wire.ts";
import { Author, type Delivery, type Seat, SEATS, type Step } from "./history.ts";

const STEPS = 60;

/** Milliseconds that the slower twin has to show the same. */
const PATIENCE_MS = 60_000;

/** One of the brokers, and what it has shown. */
class Twin implements AsyncDisposable {
  readonly #port: number;
  readonly #names: readonly string[];
  readonly #seats: { peer: Peer; reader: Reader }[] = [];
  #control!: { peer: Peer; channel: PeerChannel };
  /** What was shown of past steps. */
  readonly #shown: string[] = [];

  private constructor(port: number, names: readonly string[]) {
    this.#port = port;
    this.#names = names;
  }

  /** @param queues their arguments; each has a queue of its own for its dead letters behind it */
  static async with(port: number, queues: readonly Table[]): Promise<Twin> {
    const prefix = uniqueName("twins");
    const twin = new Twin(
      port,
      queues.flatMap((_, n) => [`${prefix}.${n}`, `${prefix}.${n}.dead`]),
    );
    const peer = await openPeer(port);
    twin.#control = { peer, channel: await peer.open() };
    const { channel } = twin.#control;
    await channel.call("confirm.select");
    for (const [n, table] of queues.entries()) {
      const [queue, dead] = [twin.#names[2 * n]!, twin.#names[2 * n + 1]!];
      const letters = { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead };
      await channel.call("queue.declare", { queue: dead, durable: true });
      await channel.call("queue.declare", {
        queue,
        durable: true,
        arguments: { ...table, ...letters },
      });
    }
    for (const seat of SEATS) await twin.#sit(seat);
    return twin;
  }

  async #sit(seat: Seat): Promise<void> {
    const peer = await openPeer(this.#port);
    this.#seats[seat] = { peer, reader: new Reader(await peer.open(), this.#names) };
  }

  async take(step: Step): Promise<void> {
    if (step.do === "publish") return await this.#publish(step);
    if (step.do === "purge") {
      await this.#control.channel.call("queue.purge", { queue: this.#names[step.queue]! });
      return;
    }
    const { peer, reader } = this.#seats[step.seat]!;
    switch (step.do) {
      case "consume":
        await reader.call("basic.qos", { prefetchCount: step.prefetch });
        await reader.call("basic.consume", {
          queue: this.#names[step.queue]!,
          consumerTag: step.consumer,
          noAck: step.noAck,
        });
        return;
      case "cancel":
        await reader.call("basic.cancel", { consumerTag: step.consumer });
        return;
      case "get":
        await reader.call("basic.get", { queue: this.#names[step.queue]!, noAck: step.noAck });
        return;
      case "ack":
        return await reader.send("basic.ack", { deliveryTag: step.tag, multiple: step.multiple });
      case "requeue":
      case "reject":
        return await reader.send("basic.nack", {
          deliveryTag: step.tag,
          multiple: step.multiple,
          requeue: step.do === "requeue",
        });
      case "recover":
        await reader.call("basic.recover", { requeue: true });
        return;
      case "close channel":
        await reader.call("channel.close");
        this.#shown.push(...reader.shown);
        this.#seats[step.seat] = { peer, reader: new Reader(await peer.open(), this.#names) };
        return;
      case "cut":
        peer.cut();
        this.#shown.push(...reader.shown);
        return await this.#sit(step.seat);
    }
  }

  async #publish({ queue, body, properties }: Step & { do: "publish" }): Promise<void> {
    const { channel } = this.#control;
    await channel.publish({ routingKey: this.#names[queue]! }, body, properties);
    this.#shown.push(`${body}: ${(await channel.method()).name}`);
  }

  /** Everything that a client can know so far. */
  async shown(): Promise<string> {
    const counts: string[] = [];
    for (const [n, queue] of this.#names.entries()) {
      // By way of the seats: what comes of a queue comes before its answer.
      const { reader } = this.#seats[SEATS[n % 2]!]!;
      for (const asker of [reader, this.#seats[SEATS[(n + 1) % 2]!]!.reader]) {
        await asker.count(queue);
      }
      counts.push(await reader.count(queue));
    }
    const seats = SEATS.map((seat) => this.#seats[seat]!.reader.shown.join("\n"));
    return [this.#shown.join("\n"), ...seats, counts.join("\n")].join("\n--\n");
  }

  /** Deliveries that wait to be settled. */
  held(seat: Seat): readonly Delivery[] {
    return this.#seats[seat]!.reader.held;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { peer } of this.#seats) await peer[Symbol.asyncDispose]();
    const { peer, channel } = this.#control;
    for (const queue of this.#names) await channel.call("queue.delete", { queue }).catch(() => {});
    await peer[Symbol.asyncDispose]();
  }
}

/** A channel whose deliveries are noted as they come. */
class Reader {
  readonly #channel: PeerChannel;
  readonly #names: readonly string[];
  /** In order, as text. */
  readonly shown: string[] = [];
  held: Delivery[] = [];
  readonly #queues = new Map<string, { queue: number; noAck: boolean }>();
  #answer: ((answer: { name: string; args: Arguments }) => void) | undefined;

  constructor(channel: PeerChannel, names: readonly string[]) {
    this.#channel = channel;
    this.#names = names;
    this.#read();
  }

  async #read(): Promise<void> {
    try {
      for (;;) {
        const method = await this.#channel.method(2 ** 30);
        if (method.name === "basic.deliver" || method.name === "basic.get-ok") {
          await this.#note(method.args, method.name === "basic.get-ok");
        }
        if (method.name !== "basic.deliver") this.#answer!(method);
        if (method.name === "channel.close-ok") return;
      }
    } catch (error) {
      if (!(error instanceof PeerGone)) throw error;
    }
  }

  #asked: { queue: number; noAck: boolean } | undefined;

  async #note(args: Arguments, isGet: boolean): Promise<void> {
    const { text, properties } = await this.#channel.readContent(args);
    const consumer = isGet ? "" : args.consumerTag as string;
    const { queue, noAck } = (isGet ? this.#asked : this.#queues.get(consumer))!;
    const tag = args.deliveryTag as number;
    if (!noAck) this.held.push({ tag, queue, consumer });
    const deaths = (properties.headers?.["x-death"] ?? []) as { reason: string; count: number }[];
    this.shown.push([
      ...[consumer || "get", tag, text, args.redelivered ? "again" : "first"],
      ...[args.messageCount ?? "", properties.headers?.["x-delivery-count"] ?? ""],
      ...deaths.map(({ reason, count }) => `${reason}*${count}`),
    ].join(" "));
  }

  async send(name: string, args: Arguments = {}): Promise<void> {
    if (name === "basic.ack" || name === "basic.nack") {
      const { deliveryTag, multiple } = args as { deliveryTag: number; multiple: boolean };
      this.held = this.held.filter(({ tag }) => multiple ? tag > deliveryTag : tag !== deliveryTag);
    }
    await this.#channel.send(name, args);
  }

  async call(name: string, args: Arguments = {}): Promise<Arguments> {
    const index = this.#names.indexOf(args.queue as string);
    const about = { queue: index, noAck: args.noAck === true };
    if (name === "basic.get") this.#asked = about;
    if (name === "basic.consume") this.#queues.set(args.consumerTag as string, about);
    if (name === "basic.recover") this.held = [];
    const answer = new Promise<{ name: string; args: Arguments }>((resolve) =>
      this.#answer = resolve
    );
    await this.#channel.send(name, args);
    const { name: answered, args: result } = await within(
      `an answer to ${name}`,
      answer,
      PATIENCE_MS,
    );
    if (!answered.startsWith(name)) {
      throw new Error(`${name} is answered ${answered} ${Deno.inspect(result)}`);
    }
    return result;
  }

  async count(queue: string): Promise<string> {
    const { messageCount, consumerCount } = await this.call("queue.declare", {
      queue,
      passive: true,
    });
    return `${messageCount} ready, ${consumerCount} consumers`;
  }
}

/**
 * Tells one history to two brokers.
 *
 * @throws Error with the steps so far when they show different things
 */
export async function compare(seed: number, one: number, other: number): Promise<void> {
  const author = new Author(seed);
  await using ours = await Twin.with(one, author.queues);
  await using theirs = await Twin.with(other, author.queues);
  const steps: Step[] = [];
  for (let n = 0; n < STEPS; n++) {
    const step = author.step((seat) => ours.held(seat));
    steps.push(step);
    try {
      await Promise.all([ours.take(step), theirs.take(step)]);
      await agree(ours, theirs);
    } catch (error) {
      const told = steps.map((step) => JSON.stringify(step)).join("\n");
      throw new Error(
        `seed ${seed}: ${(error as Error).message}\nafter, on queues\n` +
          `${JSON.stringify(author.queues)}\n${told}`,
        { cause: error },
      );
    }
  }
}

/** Lines of one that the other does not have at their place, and how the rest goes on. */
function differing(one: string, other: string): string {
  const [lines, others] = [one.split("\n"), other.split("\n")];
  return JSON.stringify(lines.filter((line, n) => line !== others[n]));
}

async function agree(ours: Twin, theirs: Twin): Promise<void> {
  const until = performance.now() + PATIENCE_MS;
  for (;;) {
    const [one, other] = await Promise.all([ours.shown(), theirs.shown()]);
    if (one === other) return;
    if (performance.now() > until) {
      throw new Error(
        `the first shows ${differing(one, other)}, the other ${differing(other, one)}`,
      );
    }
  }
}

if (import.meta.main) {
  const [histories = 200, seed = Math.floor(Math.random() * 2 ** 32)] = Deno.args.map(Number);
  const print = (text: string) => Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
  print(`${histories} histories, seed ${seed}`);
  await using broker = await startBroker();
  await using node = await startRabbitmq();
  let differences = 0;
  for (let n = 0; n < histories; n++) {
    await compare(seed + n, broker.port, node.port).catch((error: Error) => {
      differences++;
      print(error.message);
    });
  }
  print(`${differences} differences`);
  Deno.exit(differences > 0 ? 1 : 0);
}
