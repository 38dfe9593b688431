/**
 * A message as it comes, with the fields of the package's AMQPMessage that are used, and our own.
 *
 * Works around @cloudamqp/amqp-client 4.1.1, which makes one for each that comes, and an array for
 * each body.
 */
import type { TaskProperties } from "../../task/task.ts";

/** Takes a body that is left out, as it comes. */
export interface BodySink {
  /** @param part belongs to the read buffer */
  write(part: Uint8Array): void;
}

const NO_PROPERTIES: TaskProperties = {};

export class IncomingMessage {
  deliveryTag = 0;
  redelivered = false;
  exchange = "";
  routingKey = "";
  properties: TaskProperties = NO_PROPERTIES;
  bodySize = 0;
  /** Where the body is put together; it may be part of an array for many. */
  _rawBytes: Uint8Array | null = null;
  /** Bytes of it that have come. */
  bodyPos = 0;
  body: Uint8Array | null = null;
  /** Where it begins in that array. */
  bodyStart = 0;
  /** The properties as bytes, where all of them could be read. */
  received: Uint8Array | undefined = undefined;
  receivedStart = 0;
  receivedEnd = 0;
  /** They are plain, and not in `properties`; where the message id is, 0: there is none. */
  isPlain = false;
  idStart = 0;
  isLeftOut = false;
  sink: BodySink | undefined = undefined;

  /** For the next one. */
  clear(): void {
    this.properties = NO_PROPERTIES;
    this.bodySize = this.bodyPos = this.bodyStart = 0;
    this._rawBytes = this.body = null;
    this.received = undefined;
    this.isPlain = this.isLeftOut = false;
    this.idStart = 0;
    this.sink = undefined;
  }
}
