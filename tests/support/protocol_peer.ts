/**
 * A raw AMQP 0-9-1 peer that follows a test's script, as client (`connectPeer`, `openPeer`) and
 * as server (scripted_server.ts). It sends exactly what it is told, right or wrong, and answers nothing by
 * itself but the close methods' -ok on request; what arrives is sorted by channel.
 */
import { assertEquals } from "@std/assert";
import {
  type Arguments,
  decodeHeader,
  decodeMethod,
  encodeFrame,
  encodeHeader,
  encodeMethod,
  FRAME,
  type Properties,
} from "./methods.ts";
import { Mailbox, STEP_MS, within } from "./wait.ts";
import type { Table } from "./wire.ts";

export const PROTOCOL_HEADER = Uint8Array.of(0x41, 0x4d, 0x51, 0x50, 0, 0, 9, 1);

export interface Frame {
  readonly type: number;
  readonly channel: number;
  readonly payload: Uint8Array<ArrayBuffer>;
}

/** A message as it travelled. */
export interface Content {
  readonly properties: Properties;
  /** Payload of the header frame, for those who want the table's types. */
  readonly header: Uint8Array<ArrayBuffer>;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly text: string;
  /** Payload sizes of the body frames. */
  readonly bodyFrames: readonly number[];
}

export interface Message extends Content {
  /** Arguments of the basic.deliver, basic.get-ok, basic.return or basic.publish. */
  readonly args: Arguments;
}

export interface HandshakeOptions {
  user?: string;
  password?: string;
  mechanism?: string;
  /** What the client says that it is. */
  product?: string;
  /** In place of what `mechanism` makes of user and password. */
  response?: string;
  virtualHost?: string;
  /** Defaults to what the server proposes. */
  channelMax?: number;
  frameMax?: number;
  heartbeat?: number;
  /** Default: all that RabbitMQ's own clients announce. */
  capabilities?: Table;
}

export const ALL_CAPABILITIES: Table = {
  authentication_failure_close: true,
  "basic.nack": true,
  "connection.blocked": true,
  consumer_cancel_notify: true,
  exchange_exchange_bindings: true,
  publisher_confirms: true,
};

/** The connection ended; the message says how. */
export class PeerGone extends Error {}

/** One connection. */
export class Peer implements AsyncDisposable {
  readonly #conn: Deno.Conn;
  readonly #channels = new Map<number, PeerChannel>();
  readonly #heartbeats = new Mailbox<Frame>("heartbeat");
  readonly #reading: Promise<void>;
  /** What the other side sent before the first frame, where it is not a frame: 8 octets. */
  readonly greeting = new Mailbox<Uint8Array>("protocol header");
  #frameMax = 4096;
  #gone: Error | undefined;

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
    if ("setNoDelay" in conn) (conn as Deno.TcpConn).setNoDelay(true);
    this.#reading = this.#readAll();
  }

  /** The frame size that `publish` keeps to; the handshake sets it. */
  get frameMax(): number {
    return this.#frameMax;
  }

  /** A channel's incoming frames and the means to send on it; 0 is the connection itself. */
  channel(id: number): PeerChannel {
    let channel = this.#channels.get(id);
    if (!channel) {
      channel = new PeerChannel(this, id);
      this.#channels.set(id, channel);
      if (this.#gone) channel.fail(this.#gone);
    }
    return channel;
  }

  /** Opens a channel. */
  async open(id = 1): Promise<PeerChannel> {
    const channel = this.channel(id);
    await channel.call("channel.open");
    return channel;
  }

  async sendBytes(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }

  async sendFrame(type: number, channel: number, payload: Uint8Array): Promise<void> {
    await this.sendBytes(encodeFrame(type, channel, payload));
  }

  async sendHeartbeat(): Promise<void> {
    await this.sendFrame(FRAME.heartbeat, 0, new Uint8Array());
  }

  async expectHeartbeat(ms?: number): Promise<void> {
    await this.#heartbeats.next(ms);
  }

  /** Client: protocol header up to and with connection.start; gives its arguments. */
  async greet(): Promise<Arguments> {
    await this.sendBytes(PROTOCOL_HEADER);
    return await this.channel(0).expect("connection.start");
  }

  /** Client: the handshake up to and with connection.open-ok; gives connection.tune's arguments. */
  async handshake(options: HandshakeOptions = {}): Promise<Arguments> {
    await this.greet();
    await this.login(options);
    return await this.openVirtualHost(options);
  }

  /** Client: connection.start-ok. */
  async login(options: HandshakeOptions = {}): Promise<void> {
    const { user = "guest", password = "guest", mechanism = "PLAIN" } = options;
    await this.channel(0).send("connection.start-ok", {
      clientProperties: {
        product: options.product ?? "protocol peer",
        capabilities: options.capabilities ?? ALL_CAPABILITIES,
      },
      mechanism,
      response: options.response ?? `\0${user}\0${password}`,
      locale: "en_US",
    });
  }

  /** Client: connection.tune to connection.open-ok. */
  async openVirtualHost(options: HandshakeOptions = {}): Promise<Arguments> {
    const control = this.channel(0);
    const tune = await control.expect("connection.tune");
    const {
      channelMax = tune.channelMax,
      frameMax = tune.frameMax,
      heartbeat = 0,
      virtualHost = "/",
    } = options;
    await control.send("connection.tune-ok", { channelMax, frameMax, heartbeat });
    this.#frameMax = frameMax;
    await control.call("connection.open", { virtualHost });
    return tune;
  }

  /** Server: the same handshake from the other side. */
  async acceptHandshake(
    tune: Arguments = { channelMax: 2047, frameMax: 131072, heartbeat: 0 },
    serverProperties: Table = { product: "scripted server", capabilities: ALL_CAPABILITIES },
  ): Promise<{ startOk: Arguments; tuneOk: Arguments; open: Arguments }> {
    assertEquals(await this.greeting.next(), PROTOCOL_HEADER);
    const control = this.channel(0);
    const startOk = await control.call("connection.start", {
      versionMajor: 0,
      versionMinor: 9,
      serverProperties,
      mechanisms: "PLAIN AMQPLAIN",
      locales: "en_US",
    });
    const tuneOk = await control.call("connection.tune", tune);
    this.#frameMax = tuneOk.frameMax || tune.frameMax;
    const open = await control.expect("connection.open");
    await control.send("connection.open-ok");
    return { startOk, tuneOk, open };
  }

  /** Waits until the other side has ended the connection (FIN or RST). */
  async ended(ms = STEP_MS): Promise<void> {
    await within("the other side to end the connection", this.#reading, ms);
  }

  /** An orderly end by us: connection.close, -ok, FIN. */
  async close(): Promise<void> {
    await this.channel(0).call("connection.close", { replyCode: 200, replyText: "bye" });
    await this[Symbol.asyncDispose]();
  }

  /** Ends the connection without a word. */
  cut(): void {
    try {
      this.#conn.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error; // closed before
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await this.#reading;
  }

  async #readAll(): Promise<void> {
    let buffered = new Uint8Array(0);
    const chunk = new Uint8Array(65536);
    try {
      while (true) {
        const count = await this.#conn.read(chunk);
        if (count === null) throw new PeerGone("The other side ended the connection");
        const all = new Uint8Array(buffered.length + count);
        all.set(buffered);
        all.set(chunk.subarray(0, count), buffered.length);
        buffered = this.#frames(all);
      }
    } catch (error) {
      this.#gone = error instanceof PeerGone
        ? error
        : new PeerGone(`The connection ended: ${(error as Error).message}`, { cause: error });
    }
    for (const channel of this.#channels.values()) channel.fail(this.#gone);
    this.#heartbeats.fail(this.#gone);
    this.greeting.fail(this.#gone);
    this.cut();
  }

  /** Sorts complete frames; gives the bytes that are left. */
  #frames(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    let at = 0;
    while (bytes.length - at >= 8) {
      if (bytes[at] === PROTOCOL_HEADER[0]) {
        this.greeting.put(bytes.slice(at, at + 8));
        at += 8;
        continue;
      }
      const view = new DataView(bytes.buffer, at);
      const size = view.getUint32(3);
      if (bytes.length - at < size + 8) break;
      const payload = bytes.slice(at + 7, at + 7 + size);
      if (bytes[at + 7 + size] !== FRAME.end) throw new PeerGone("A frame without its end octet");
      const frame = { type: view.getUint8(0), channel: view.getUint16(1), payload };
      if (frame.type === FRAME.heartbeat) this.#heartbeats.put(frame);
      else this.channel(frame.channel).put(frame);
      at += size + 8;
    }
    return bytes.slice(at);
  }
}

/** Frames of one channel, in order. */
export class PeerChannel {
  readonly #frames: Mailbox<Frame>;

  constructor(readonly peer: Peer, readonly id: number) {
    this.#frames = new Mailbox(`frame on channel ${id}`);
  }

  /** Frames that arrived and were not expected yet. */
  get unread(): number {
    return this.#frames.waiting.length;
  }

  put(frame: Frame): void {
    this.#frames.put(frame);
  }

  fail(error: Error): void {
    this.#frames.fail(error);
  }

  async send(name: string, args: Arguments = {}): Promise<void> {
    await this.peer.sendFrame(FRAME.method, this.id, encodeMethod(name, args));
  }

  /** The next frame, whatever it is. */
  frame(ms?: number): Promise<Frame> {
    return this.#frames.next(ms);
  }

  /** The next frame must be a method; gives its name and arguments. */
  async method(ms?: number): Promise<{ name: string; args: Arguments }> {
    const frame = await this.frame(ms);
    assertEquals(frame.type, FRAME.method, "type of the next frame");
    return decodeMethod(frame.payload);
  }

  /** The next frame must be this method; gives its arguments. */
  async expect(name: string, ms?: number): Promise<Arguments> {
    const method = await this.method(ms);
    if (method.name !== name) {
      throw new Error(`Expected ${name}, got ${method.name} ${Deno.inspect(method.args)}`);
    }
    return method.args;
  }

  /** Sends a method and expects its answer: `name`-ok, after which nothing is left unread. */
  async call(name: string, args: Arguments = {}): Promise<Arguments> {
    await this.send(name, args);
    return await this.expect(`${name}-ok`);
  }

  /** basic.publish with its content, in frames of at most `frameMax`. */
  async publish(
    args: Arguments,
    body: Uint8Array | string = "",
    properties: Properties = {},
  ): Promise<void> {
    await this.content("basic.publish", args, body, properties);
  }

  /** Any method that carries content (a server's basic.deliver, get-ok, return). */
  async content(
    name: string,
    args: Arguments,
    body: Uint8Array | string = "",
    properties: Properties = {},
  ): Promise<void> {
    const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
    const frames = [
      encodeFrame(FRAME.method, this.id, encodeMethod(name, args)),
      encodeFrame(FRAME.header, this.id, encodeHeader(bytes.length, properties)),
    ];
    const step = this.peer.frameMax - 8;
    for (let at = 0; at < bytes.length; at += step) {
      frames.push(encodeFrame(FRAME.body, this.id, bytes.subarray(at, at + step)));
    }
    const all = new Uint8Array(frames.reduce((sum, frame) => sum + frame.length, 0));
    let at = 0;
    for (const frame of frames) {
      all.set(frame, at);
      at += frame.length;
    }
    await this.peer.sendBytes(all);
  }

  /** The next frames must be this method and its content. */
  async expectContent(name = "basic.deliver", ms?: number): Promise<Message> {
    return await this.readContent(await this.expect(name, ms), ms);
  }

  /** The next frames must be the content of a method that was read before. */
  async readContent(args: Arguments, ms?: number): Promise<Message> {
    const headerFrame = await this.frame(ms);
    assertEquals(headerFrame.type, FRAME.header, "type of the frame after a method with content");
    const { bodySize, properties } = decodeHeader(headerFrame.payload);
    const body = new Uint8Array(bodySize);
    const bodyFrames: number[] = [];
    for (let at = 0; at < bodySize;) {
      const frame = await this.frame(ms);
      assertEquals(frame.type, FRAME.body, "type of a frame within a content");
      body.set(frame.payload, at);
      at += frame.payload.length;
      bodyFrames.push(frame.payload.length);
    }
    const text = new TextDecoder().decode(body);
    return { args, properties, header: headerFrame.payload, body, text, bodyFrames };
  }

  /** The other side must close this channel (0: the connection); answers -ok. */
  async expectClose(replyCode: number, replyText: string | RegExp): Promise<Arguments> {
    const name = this.id === 0 ? "connection.close" : "channel.close";
    const args = await this.expect(name);
    assertEquals(args.replyCode, replyCode, args.replyText);
    if (typeof replyText === "string") assertEquals(args.replyText, replyText);
    else if (!replyText.test(args.replyText)) {
      throw new Error(`Expected a close with ${replyText}, got: ${args.replyText}`);
    }
    await this.send(`${name}-ok`);
    return args;
  }
}

/** Connects to a server; no byte is sent yet. */
export async function connectPeer(port: number, hostname = "127.0.0.1"): Promise<Peer> {
  return new Peer(await Deno.connect({ hostname, port }));
}

/** Connects and does the handshake. */
export async function openPeer(
  port: number,
  options: HandshakeOptions = {},
  hostname?: string,
): Promise<Peer> {
  const peer = await connectPeer(port, hostname);
  try {
    await peer.handshake(options);
    return peer;
  } catch (error) {
    await peer[Symbol.asyncDispose]();
    throw error;
  }
}
