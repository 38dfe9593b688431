/** Reads what the broker sends until the connection has ended, and cuts it into frames. */
import { Type } from "@cloudamqp/amqp-client/amqp-frame";
import { ConnectionError, EXIT, reason } from "../errors.ts";
import type { Socket } from "./dial.ts";
import { FrameBuffer, protocolError } from "./frame_buffer.ts";
import { explainForeignBytes } from "./handshake.ts";
import { type Endpoint, redact } from "./url.ts";

/** A connection, as what is read for it sees it. */
export interface ReadingConnection {
  /** It has ended: what is read now is nobody's. */
  readonly isEnded: boolean;
  /** Something has arrived. */
  heard(): void;
  /** @param end behind the frame's end byte in `frames` */
  onFrame(start: number, end: number): void;
  /** Nothing more comes. @param cause undefined: the broker closed the socket */
  onEnd(cause: unknown): void;
  /** What came has no meaning. */
  onFault(error: ConnectionError): void;
}

export class FrameReader {
  readonly frames: FrameBuffer;
  readonly #socket: Socket;
  readonly #endpoint: Endpoint;
  /** The broker has sent something: what it says from now on are frames. */
  #spoke = false;
  /** Resolves when reading goes on; undefined: it is not paused. */
  #pause: PromiseWithResolvers<void> | undefined;
  /** The same, for who reads nothing before it has resolved. */
  #room: Promise<unknown> | undefined;

  constructor(socket: Socket, endpoint: Endpoint, frameMax: number) {
    this.#socket = socket;
    this.#endpoint = endpoint;
    this.frames = new FrameBuffer(frameMax);
  }

  get paused(): boolean {
    return this.#pause !== undefined || this.#room !== undefined;
  }

  /** Nothing more is read; what was read is cut into frames still. */
  set paused(paused: boolean) {
    if (paused) this.#pause ??= Promise.withResolvers();
    else {
      this.#pause?.resolve();
      this.#pause = undefined;
    }
  }

  /** Nothing more is read before that has resolved. @param room never rejects */
  readAfter(room: Promise<unknown>): void {
    this.#room = room;
    room.then(() => {
      if (this.#room === room) this.#room = undefined;
    });
  }

  /** Resolves when there is nothing more to read. Never rejects. */
  async run(connection: ReadingConnection): Promise<void> {
    const onFrame = (start: number, end: number) => connection.onFrame(start, end);
    for (;;) {
      while (this.paused) await (this.#pause?.promise ?? this.#room);
      if (connection.isEnded) return;
      let n: number | null;
      try {
        n = await this.#socket.read(this.frames.room);
      } catch (error) {
        return connection.onEnd(error);
      }
      if (connection.isEnded) return;
      if (n === null) return connection.onEnd(undefined);
      connection.heard();
      try {
        if (!this.#spoke) this.#requireFrames(n);
        this.frames.add(n);
        while (this.frames.take(onFrame)) await undefined;
      } catch (error) {
        return connection.onFault(
          error instanceof ConnectionError
            ? error
            : protocolError(`a frame cannot be read: ${reason(error)}`, error),
        );
      }
    }
  }

  /** The first bytes tell AMQP frames from anything else. @throws {ConnectionError} */
  #requireFrames(n: number): void {
    const first = this.frames.room.subarray(0, n);
    this.#spoke = first[0] === Type.METHOD;
    if (this.#spoke) return;
    throw new ConnectionError(
      `cannot connect to ${redact(this.#endpoint)}: ${explainForeignBytes(first)}`,
      EXIT.protocol,
      true,
    );
  }
}
