/** Cuts the bytes of a connection into AMQP frames (AMQP 0-9-1 section 4.2.3). */
import { Type } from "@cloudamqp/amqp-client/amqp-frame";
import { ConnectionError, EXIT } from "../errors.ts";
import { FRAME_END, FRAME_HEADER_BYTES, FRAME_OVERHEAD } from "./protocol.ts";

/**
 * Bytes of frames that are handed on in one go. What is made of them can leave before the rest is
 * looked at, and the other side works on it meanwhile.
 */
const SLICE_BYTES = 32 * 1024;

/**
 * Bytes read and not yet used. Frames are views on the one buffer: whoever keeps something of a
 * frame after `take` has returned must copy it.
 */
export class FrameBuffer {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  /** Largest payload accepted, in bytes; lowered by the owner after connection.tune. */
  maxPayload: number;
  #filled = 0;
  /** Where the next frame begins; 0 before a read. */
  #next = 0;
  /** Largest payload for which there is room at all. */
  readonly #largest: number;

  constructor(maxPayload: number) {
    this.maxPayload = maxPayload;
    // Twice the largest frame: a whole frame always fits behind the rest of another.
    this.bytes = new Uint8Array(2 * (maxPayload + FRAME_OVERHEAD));
    this.#largest = this.bytes.length - FRAME_OVERHEAD;
    this.view = new DataView(this.bytes.buffer);
  }

  /** Where the next read goes; never empty. */
  get room(): Uint8Array {
    return this.bytes.subarray(this.#filled);
  }

  /** What was read and not yet used, for error messages. */
  get unused(): Uint8Array {
    return this.bytes.subarray(this.#next, this.#filled);
  }

  /** So many bytes were read into `room`. */
  add(n: number): void {
    this.#filled += n;
  }

  /**
   * Hands a slice of the complete frames to `onFrame`; behind the last one it moves the rest to the
   * front.
   *
   * @returns whether there may be more, which have to be taken before the next read
   * @throws {ConnectionError} what arrived is not a frame
   */
  take(onFrame: (start: number, end: number) => void): boolean {
    let position = this.#next;
    const enough = position + SLICE_BYTES;
    while (this.#filled - position >= FRAME_HEADER_BYTES) {
      if (position >= enough) {
        this.#next = position;
        return true;
      }
      const size = this.view.getUint32(position + 3);
      // RabbitMQ adds x-death to the headers of a task whatever was agreed. Refused, the task would
      // end the connection of every worker in turn.
      const limit = this.bytes[position] === Type.HEADER ? this.#largest : this.maxPayload;
      if (size > limit) {
        throw protocolError(`a frame must be at most ${limit} bytes, and one of ${size} arrived`);
      }
      const end = position + FRAME_HEADER_BYTES + size + 1;
      if (end > this.#filled) break;
      if (this.bytes[end - 1] !== FRAME_END) {
        throw protocolError(
          `a frame must end with the byte ${FRAME_END}, and one ended with ${this.bytes[end - 1]}`,
        );
      }
      onFrame(position, end);
      position = end;
    }
    if (position > 0) {
      this.bytes.copyWithin(0, position, this.#filled);
      this.#filled -= position;
    }
    this.#next = 0;
    return false;
  }
}

/** The peer broke the protocol. */
export function protocolError(message: string, cause?: unknown): ConnectionError {
  return new ConnectionError(
    `the broker broke the protocol: ${message}`,
    EXIT.protocol,
    false,
    cause === undefined ? {} : { cause },
  );
}
