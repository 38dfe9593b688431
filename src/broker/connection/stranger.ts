/** A peer that has not logged in: what it sends has bounds, and it may be made to wait. */

import type { Deadlines } from "../../time/deadlines.ts";
import { FrameError, FrameSource } from "../net/inbox.ts";
import {
  DISTRUST_BYTES,
  HANDSHAKE_BYTES,
  HANDSHAKE_FRAME_MAX,
  HANDSHAKE_HEARTBEATS,
} from "../net/limits.ts";
import type { Socket } from "../net/socket.ts";
import type { StrangersTurns } from "../net/strangers_turns.ts";
import { ByteReader, MalformedError } from "../wire/bytes.ts";
import { FrameType, FrameWriter } from "../wire/frames.ts";
import { decodeArguments, readMethodName } from "../wire/method_codec.ts";
import type { Arguments, PlainName } from "../wire/methods.ts";
import { shorten } from "./reply_codes.ts";

/** The handshake ended without a login; the peer was told what it is to know. */
export class Refused extends Error {}

/** The peer does not speak the protocol. */
class Unexpected extends Error {}

/** What the peer sent is not the protocol, or not at this point of it. */
export function isUnexpected(error: unknown): boolean {
  return error instanceof Unexpected || error instanceof MalformedError ||
    error instanceof FrameError;
}

export class Stranger {
  readonly connection: Socket;
  readonly source: FrameSource;
  readonly #deadlines: Deadlines;
  readonly #turns: StrangersTurns;
  /** That came so far. */
  #heartbeats = 0;

  constructor(connection: Socket, deadlines: Deadlines, turns: StrangersTurns) {
    this.connection = connection;
    this.source = new FrameSource(connection);
    this.#deadlines = deadlines;
    this.#turns = turns;
  }

  /** Where it comes from, for logs. */
  get peer(): string {
    const { remoteAddr: from } = this.connection;
    return from.transport === "tcp" ? `${from.hostname}:${from.port}` : from.transport;
  }

  /** Its address, or "". */
  get address(): string {
    const { remoteAddr: from } = this.connection;
    return from.transport === "tcp" ? from.hostname : "";
  }

  /** The first eight bytes. @throws {Refused} it leaves before */
  async protocolHeader(): Promise<Uint8Array> {
    for (;;) {
      const header = this.source.protocolHeader();
      if (header !== undefined) return header;
      await this.#fill();
    }
  }

  /**
   * Lets a peer wait that is not trusted. What it sends meanwhile is not looked at, and if it is much
   * not even read.
   * @returns the read that is under way, or undefined when the peer has left
   */
  async hold(ms: number): Promise<{ reading: Promise<boolean> } | undefined> {
    const { promise: waited, resolve } = Promise.withResolvers<void>();
    const over = this.#deadlines.after(ms, resolve);
    const before = this.source.received;
    try {
      for (;;) {
        this.source.discard();
        if (this.source.received - before > DISTRUST_BYTES) return void await waited;
        const reading = this.source.fill();
        reading.catch(() => {}); // the socket may be closed under it
        const isPresent = await Promise.race([waited, reading]);
        if (isPresent === undefined) return { reading };
        if (!isPresent) return undefined;
      }
    } finally {
      this.#deadlines.cancel(over);
    }
  }

  /** Says why, and leaves the client some time to read it. */
  async refuse(replyCode: number, name: string, reason: string, methodId = 0): Promise<never> {
    await this.sendClose(replyCode, name, reason, methodId);
    await this.expect("connection.close-ok").catch(() => undefined);
    throw new Refused(reason);
  }

  async sendClose(
    replyCode: number,
    name: string,
    reason: string,
    methodId: number,
  ): Promise<void> {
    const replyText = shorten(`${name} - ${reason}`);
    const classId = methodId === 0 ? 0 : 10;
    await this.send("connection.close", { replyCode, replyText, classId, methodId });
  }

  async send<N extends PlainName>(name: N, args: Arguments<N>): Promise<void> {
    const frames = new FrameWriter();
    frames.method(0, name, args);
    await this.write(frames.copy());
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let sent = 0; sent < bytes.length;) {
      sent += await this.connection.write(bytes.subarray(sent));
    }
  }

  async #fill(): Promise<void> {
    const isPresent = await this.source.fill();
    await this.#turns.next();
    if (!isPresent) throw new Refused();
    if (this.source.received > HANDSHAKE_BYTES) throw new Unexpected();
  }

  /** Reads frames up to the next method, which must be this one. */
  async expect<N extends PlainName>(name: N): Promise<Arguments<N>> {
    for (;;) {
      while (!this.source.next(HANDSHAKE_FRAME_MAX)) await this.#fill();
      const { type, channel, bytes, payloadStart, payloadEnd } = this.source;
      if (type === FrameType.heartbeat && this.#heartbeats++ < HANDSHAKE_HEARTBEATS) continue;
      if (type !== FrameType.method || channel !== 0) throw new Unexpected();
      const reader = new ByteReader(bytes, payloadStart, payloadEnd);
      const received = readMethodName(reader);
      if (received === name) return decodeArguments(name, reader).args as Arguments<N>;
      if (received === "connection.close") {
        await this.send("connection.close-ok", {});
        throw new Refused();
      }
      throw new Unexpected();
    }
  }
}
