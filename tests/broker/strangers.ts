/** Strangers: clients that send bytes, right or wrong, and note how the broker ends it. */
import { AssertionError } from "@std/assert";
import {
  type Arguments,
  decodeMethod,
  encodeFrame,
  encodeHeader,
  encodeMethod,
  FRAME,
  type Properties,
} from "../support/methods.ts";
import {
  openPeer,
  type Peer,
  type PeerChannel,
  PROTOCOL_HEADER,
} from "../support/protocol_peer.ts";
import { uniqueName } from "../support/temp.ts";
import { within } from "../support/wait.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The reply codes with which a broker may refuse what strangers send; 541 is a fault of its own. */
const CODES = [311, 320, 403, 404, 405, 406, 501, 502, 503, 504, 505, 506, 530, 540];

/** Longer than any frame: whatever the broker waits for, it comes, and is wrong. */
const FILLER = new Uint8Array(140_000);

export function method(channel: number, name: string, args: Arguments = {}): Bytes {
  return encodeFrame(FRAME.method, channel, encodeMethod(name, args));
}

export function content(channel: number, body: string, properties: Properties = {}): Bytes[] {
  const bytes = new TextEncoder().encode(body);
  return [
    encodeFrame(FRAME.header, channel, encodeHeader(bytes.length, properties)),
    encodeFrame(FRAME.body, channel, bytes),
  ];
}

export function concat(parts: readonly Uint8Array[]): Bytes {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Protocol header to connection.open. */
export const LOGIN: readonly Bytes[] = [
  PROTOCOL_HEADER,
  method(0, "connection.start-ok", {
    clientProperties: { capabilities: { authentication_failure_close: true } },
    mechanism: "PLAIN",
    response: "\0guest\0guest",
    locale: "en_US",
  }),
  method(0, "connection.tune-ok", { channelMax: 2047, frameMax: 131_072, heartbeat: 60 }),
  method(0, "connection.open", { virtualHost: "/" }),
];

/** A session that uses most of what there is, and ends well. */
export function validSession(queue: string): Bytes[] {
  const consume = { queue, consumerTag: "c", arguments: { "x-priority": 1 } };
  return [
    ...LOGIN,
    method(1, "channel.open"),
    method(1, "exchange.declare", { exchange: `${queue}.x`, type: "topic", autoDelete: true }),
    method(1, "queue.declare", { queue, autoDelete: true, arguments: { "x-max-length": 10 } }),
    method(1, "queue.bind", { queue, exchange: `${queue}.x`, routingKey: "a.*" }),
    method(1, "confirm.select"),
    method(1, "basic.publish", { exchange: `${queue}.x`, routingKey: "a.b", mandatory: true }),
    ...content(1, "some work", { headers: { a: 1, b: { c: ["d", null] } }, deliveryMode: 2 }),
    method(1, "basic.get", { queue }),
    method(1, "basic.nack", { deliveryTag: 1, requeue: true }),
    method(1, "basic.qos", { prefetchCount: 5 }),
    method(1, "basic.consume", consume),
    method(1, "basic.ack", { deliveryTag: 2 }),
    encodeFrame(FRAME.heartbeat, 0, new Uint8Array()),
    method(2, "channel.open"),
    method(2, "tx.select"),
    method(2, "basic.publish", { routingKey: queue }),
    ...content(2, "more work", { priority: 3, expiration: "60000" }),
    method(2, "tx.commit"),
    method(1, "basic.cancel", { consumerTag: "c" }),
    method(1, "channel.close", { replyCode: 200 }),
    method(0, "connection.close", { replyCode: 200 }),
  ];
}

/** How a stranger's connection ended: in order, with a reply code, or without a word. */
export type Verdict = "close-ok" | number | "closed";

/**
 * Sends the bytes and then, so that nothing stays undecided, filler; waits for the end.
 * @throws {AssertionError} for a reply code that is a fault of the broker, or bytes that are no frames
 */
export async function play(port: number, bytes: Uint8Array): Promise<Verdict> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const sending = sendAll(connection, bytes).then(() => sendAll(connection, FILLER));
  try {
    return await within("the broker to end a stranger's connection", verdictOf(connection));
  } finally {
    connection.close();
    await sending;
  }
}

/** Sends; the other side may be gone. */
export async function sendAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  try {
    for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
  } catch {
    // It is the broker's right to close the socket at any byte.
  }
}

/** Reads frames up to the end of a connection. */
async function verdictOf(connection: Deno.Conn): Promise<Verdict> {
  let received: Bytes = new Uint8Array();
  const chunk = new Uint8Array(65_536);
  for (;;) {
    const count = await connection.read(chunk).catch(() => null);
    if (count === null) return "closed";
    received = concat([received, chunk.subarray(0, count)]);
    if (received[0] === PROTOCOL_HEADER[0]) received = received.slice(8);
    for (;;) {
      const view = new DataView(received.buffer);
      if (received.length < 8 || received.length < view.getUint32(3) + 8) break;
      const end = view.getUint32(3) + 7;
      if (received[end] !== FRAME.end) throw new AssertionError("the broker sent a broken frame");
      const verdict = verdictIn(received.slice(0, end));
      if (verdict !== undefined) return verdict;
      received = received.slice(end + 1);
    }
  }
}

function verdictIn(frame: Bytes): Verdict | undefined {
  if (frame[0] !== FRAME.method) return undefined;
  const { name, args } = decodeMethod(frame.slice(7));
  if (name === "connection.close-ok") return "close-ok";
  if (name !== "connection.close" && name !== "channel.close") return undefined;
  if (!CODES.includes(args.replyCode)) {
    throw new AssertionError(`the broker closed with ${args.replyCode} ${args.replyText}`);
  }
  return name === "connection.close" ? args.replyCode : undefined;
}

/** A decent client beside the strangers, whose messages must not suffer. */
export class Witness implements AsyncDisposable {
  readonly queue = uniqueName("witness");
  readonly #peer: Peer;
  readonly #channel: PeerChannel;
  #confirmed = 0;
  #last: Promise<void> = Promise.resolve();

  private constructor(peer: Peer, channel: PeerChannel) {
    this.#peer = peer;
    this.#channel = channel;
  }

  static async start(port: number): Promise<Witness> {
    const peer = await openPeer(port);
    const witness = new Witness(peer, await peer.open());
    await witness.#channel.call("queue.declare", { queue: witness.queue, durable: true });
    await witness.#channel.call("confirm.select");
    return witness;
  }

  /** Publishes one more message, after those before it, and waits for its confirm. */
  publish(): Promise<void> {
    return this.#last = this.#last.then(() => this.#publish());
  }

  async #publish(): Promise<void> {
    const body = `${this.#confirmed}`;
    await this.#channel.publish({ routingKey: this.queue }, body, { deliveryMode: 2 });
    await this.#channel.expect("basic.ack");
    this.#confirmed++;
  }

  /** Everything that was confirmed is there, in its order. */
  async check(): Promise<void> {
    for (let expected = 0; expected < this.#confirmed; expected++) {
      await this.#channel.send("basic.get", { queue: this.queue, noAck: true });
      const { text } = await this.#channel.expectContent("basic.get-ok");
      if (text !== `${expected}`) throw new AssertionError(`${expected} confirmed, got ${text}`);
    }
    await this.#channel.send("basic.get", { queue: this.queue, noAck: true });
    await this.#channel.expect("basic.get-empty");
    await this.#channel.call("queue.delete", { queue: this.queue });
    await this.#peer.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#peer[Symbol.asyncDispose]();
  }
}

/** Runs tasks, some at a time. */
export async function inParallel<T>(
  items: Iterable<T>,
  width: number,
  run: (item: T) => Promise<void>,
): Promise<void> {
  const left = items[Symbol.iterator]();
  async function take(): Promise<void> {
    for (let next = left.next(); !next.done; next = left.next()) await run(next.value);
  }
  await Promise.all(Array.from({ length: width }, take));
}
