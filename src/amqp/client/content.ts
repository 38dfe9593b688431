/**
 * Content as frames: the header frame with its properties, and body frames (section 4.2.6).
 *
 * Works around @cloudamqp/amqp-client 4.1.1, which cuts whole numbers of more than 32 bits, ends the
 * connection at a header that it cannot read, has no room for properties that a frame would hold,
 * and leaves a promise without a handler when the connection ends before a confirm.
 */
import { BasicMethod, ClassId, Type } from "@cloudamqp/amqp-client/amqp-frame";
import { AMQPView } from "./view.ts";
import { EXIT, TaskError } from "../../errors.ts";
import type { Field, TaskProperties } from "../../task/task.ts";
import { type Original, writeCopy } from "./received_properties.ts";
import { FRAME_END, FRAME_HEADER_BYTES, FRAME_OVERHEAD } from "../protocol.ts";

/** Bodies up to this size, and no larger than a frame, are sent in one piece with their header. */
const INLINE_BODY_BYTES = 4096;
/** Pieces up to this size may be overwritten by the next task: who sends them copies them. */
const SHARED_PIECE_BYTES = 8192;
/** Room for basic.publish with the longest names. */
const METHOD_FRAME_BYTES = 600;
const NOT_READ: TaskProperties = {};
const BODY_END = new Uint8Array([FRAME_END]);

/** A task on its way to a broker. */
export interface Publication {
  /** "" is the default exchange, which routes to the queue named by the routing key. */
  readonly exchange: string;
  readonly routingKey: string;
  /** Must not change before the promise of `publish` settles. */
  readonly body: Uint8Array;
  /** A random message id is added where there is none: returns are told apart by it. */
  readonly properties: TaskProperties;
  /** What it is a copy of: properties and headers that are the same are sent as its bytes. */
  readonly original?: Original | undefined;
  /**
   * Its properties as bytes, which are sent in the place of `properties`, message id and all; they may
   * be overwritten once it was sent. Not for those that are traced: a trace would have to get into them.
   */
  readonly encoded?: Uint8Array | undefined;
}

/** Encodes basic.publish with its content for one channel. */
export class ContentWriter {
  readonly #channelId: number;
  readonly #frameMax: number;
  readonly #inlineMax: number;
  /** Method and header frame, and the body when it fits; overwritten by every task. */
  readonly #scratch: AMQPView;
  readonly #bytes: Uint8Array;
  /** The part of it that was encoded last: a stream of tasks mostly has one size. */
  #part: Uint8Array;
  /** The pieces of a task that has one. */
  readonly #single: Uint8Array[] = [];
  /** The method frame at the beginning of the scratch: a stream of tasks mostly has one address. */
  #method: { exchange: string; routingKey: string; end: number } | undefined;

  /** @param frameMax bytes of a whole frame, as agreed with the broker */
  constructor(channelId: number, frameMax: number) {
    this.#channelId = channelId;
    this.#frameMax = frameMax;
    this.#inlineMax = Math.min(INLINE_BODY_BYTES, frameMax - FRAME_OVERHEAD);
    this.#scratch = new AMQPView(new ArrayBuffer(METHOD_FRAME_BYTES + 2 * frameMax));
    this.#bytes = this.#part = new Uint8Array(this.#scratch.buffer);
  }

  /**
   * The bytes to send, in order, without a copy of a large body. They, and a first piece of at most
   * 8 KiB, are only good until the next call: whoever sends that one copies it.
   *
   * @throws {TaskError} a name is too long, timestamp or priority are none, or the properties do not fit
   *   into one frame
   */
  publish(task: Publication, messageId: string): readonly Uint8Array[] {
    const { body } = task;
    let end = this.#writeStart(task, messageId, body.length);
    if (body.length === 0) return this.#encoded(end);
    if (body.length <= this.#inlineMax) {
      end = this.#writeFrameStart(end, Type.BODY, body.length);
      this.#bytes.set(body, end);
      end += body.length;
      this.#bytes[end++] = FRAME_END;
      return this.#encoded(end);
    }
    const start = this.#bytes.slice(0, end);
    return [start, ...this.frames(body)];
  }

  /**
   * The bytes before a body that follows in pieces, for {@link frames}. Good until the next call.
   *
   * @param bodySize bytes of all of it
   * @throws {TaskError} as `publish` does
   */
  begin(task: Publication, messageId: string, bodySize: number): Uint8Array {
    return this.#bytes.subarray(0, this.#writeStart(task, messageId, bodySize));
  }

  /** Body frames, in pieces to send in order; without a copy of the body. */
  frames(body: Uint8Array): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    this.#method = undefined; // the frames of the body are written over it
    const most = this.#frameMax - FRAME_OVERHEAD;
    for (let position = 0; position < body.length; position += most) {
      const part = body.subarray(position, position + most);
      this.#writeFrameStart(0, Type.BODY, part.length);
      pieces.push(this.#bytes.slice(0, FRAME_HEADER_BYTES), part, BODY_END);
    }
    return pieces;
  }

  /** Method and header. @returns where they end */
  #writeStart(task: Publication, messageId: string, bodySize: number): number {
    const { timestamp, priority = 0 } = task.encoded === undefined ? task.properties : NOT_READ;
    if (Number.isNaN(timestamp?.getTime())) {
      throw new TaskError("the timestamp of a task must be a date, and is none", EXIT.badData);
    }
    if (!Number.isInteger(priority) || priority < 0 || priority > 255) {
      throw new TaskError(
        `the priority of a task must be a whole number from 0 to 255, and is ${priority}`,
        EXIT.badData,
      );
    }
    try {
      const end = this.#writeMethod(task.exchange, task.routingKey);
      return this.#writeHeader(end, task, messageId, bodySize);
    } catch (error) {
      throw new TaskError(
        error instanceof RangeError
          ? this.#tooLarge()
          : `the task cannot be encoded: ${(error as Error).message}`,
        EXIT.badData,
        { cause: error },
      );
    }
  }

  #encoded(end: number): readonly Uint8Array[] {
    if (end > SHARED_PIECE_BYTES) return [this.#bytes.slice(0, end)];
    if (this.#part.length !== end) this.#part = this.#bytes.subarray(0, end);
    this.#single[0] = this.#part;
    return this.#single;
  }

  #writeMethod(exchange: string, routingKey: string): number {
    const last = this.#method;
    if (last?.routingKey === routingKey && last.exchange === exchange) return last.end;
    this.#method = undefined;
    const view = this.#scratch;
    view.setUint16(FRAME_HEADER_BYTES, ClassId.BASIC);
    view.setUint16(FRAME_HEADER_BYTES + 2, BasicMethod.PUBLISH);
    view.setUint16(FRAME_HEADER_BYTES + 4, 0);
    let end = FRAME_HEADER_BYTES + 6;
    end += view.setShortString(end, exchange);
    end += view.setShortString(end, routingKey);
    view.setUint8(end++, 1); // mandatory
    this.#writeFrameStart(0, Type.METHOD, end - FRAME_HEADER_BYTES);
    view.setUint8(end++, FRAME_END);
    this.#method = { exchange, routingKey, end };
    return end;
  }

  #writeHeader(
    start: number,
    task: Publication,
    messageId: string,
    bodySize: number,
  ): number {
    const view = this.#scratch;
    const payload = start + FRAME_HEADER_BYTES;
    view.setUint16(payload, ClassId.BASIC);
    view.setUint16(payload + 2, 0);
    view.setUint32(payload + 4, Math.floor(bodySize / 2 ** 32));
    view.setUint32(payload + 8, bodySize);
    if (task.encoded !== undefined) {
      this.#bytes.set(task.encoded, payload + 12);
      return this.#endHeader(start, payload + 12 + task.encoded.length);
    }
    const properties = task.properties.messageId === messageId
      ? task.properties
      : { ...task.properties, messageId };
    let end = payload + 12;
    const { original } = task;
    const receivedProperties = original?.receivedProperties;
    end += receivedProperties === undefined
      ? view.setProperties(
        end,
        properties.headers === undefined
          ? properties
          : { ...properties, headers: encodable(properties.headers) },
      )
      : writeCopy(view, end, properties, {
        properties: original!.properties,
        receivedProperties,
      }, encodable);
    return this.#endHeader(start, end);
  }

  /** @param end of its payload */
  #endHeader(start: number, end: number): number {
    const view = this.#scratch;
    if (end - start + 1 > this.#frameMax) throw new RangeError(this.#tooLarge());
    this.#writeFrameStart(start, Type.HEADER, end - start - FRAME_HEADER_BYTES);
    view.setUint8(end, FRAME_END);
    return end + 1;
  }

  #writeFrameStart(start: number, type: Type, size: number): number {
    this.#scratch.setUint8(start, type);
    this.#scratch.setUint16(start + 1, this.#channelId);
    this.#scratch.setUint32(start + 3, size);
    return start + FRAME_HEADER_BYTES;
  }

  #tooLarge(): string {
    return "the headers and other properties of a task must fit into one frame of " +
      `${this.#frameMax} bytes, and they do not`;
  }
}

/**
 * The same table in values that the package writes without loss: it cuts whole numbers beyond 32
 * bits, so those become 64-bit integers; what does not fit into 64 bits becomes a string.
 */
function encodable(table: Record<string, Field>): Record<string, Field> {
  return Object.fromEntries(Object.entries(table).map(([key, field]) => [key, mapped(field)]));
}

function mapped(value: Field): Field {
  if (typeof value === "number") {
    if (!Number.isInteger(value)) return value;
    if (value >= -(2 ** 31) && value < 2 ** 31) return value;
    return mapped(BigInt(value));
  }
  if (typeof value === "bigint") {
    return BigInt.asIntN(64, value) === value ? value : String(value);
  }
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value;
  if (Array.isArray(value)) return value.map(mapped);
  return encodable(value as Record<string, Field>);
}
