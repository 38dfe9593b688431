/**
 * Puts incoming content together on a channel: a method (basic.deliver, basic.return), its header,
 * its body frames (section 4.2.6).
 *
 * Works around @cloudamqp/amqp-client 4.1.1, which reads a body that nobody announced as frames,
 * sets aside whatever memory a header announces, and throws where it cannot read a property.
 */
import type { AMQPChannel } from "@cloudamqp/amqp-client/amqp-channel";
import type { AMQPMessage } from "@cloudamqp/amqp-client/amqp-message";
import { readContentHeader } from "./content_header.ts";
import { readDelivery } from "./plain_content.ts";
import { type FrameBuffer, protocolError } from "../frame_buffer.ts";

/**
 * What the package keeps on a channel between a method and the end of its content; it leaves these
 * fields out of its published types.
 */
interface Assembling {
  delivery?: IncomingMessage;
  getMessage?: IncomingMessage;
  returned?: IncomingMessage;
  /** Ours. */
  bodyRoom?: BodyRoom;
  passOn?: (message: AMQPMessage) => BodySink | undefined;
  sharesBodies?: boolean;
}

type IncomingMessage = AMQPMessage & {
  _rawBytes: Uint8Array | null;
  bodyPos: number;
  receivedProperties?: Uint8Array;
  isLeftOut?: boolean;
  sink?: BodySink | undefined;
};

/** Memory for bodies. */
export interface BodyRoom {
  /** Bytes of one; a larger one is not kept: see {@link leftOutOf}. */
  readonly single: number;
  /** One of so many bytes begins. */
  note(bytes: number): void;
}

/** Takes a body that is left out, as it comes. */
export interface BodySink {
  /** @param part belongs to the read buffer */
  write(part: Uint8Array): void;
}

/**
 * What comes on a channel has so much room.
 *
 * @param passOn where a body goes that is left out; undefined: nowhere
 */
export function limitBodies(
  channel: AMQPChannel,
  room: BodyRoom,
  passOn: (message: AMQPMessage) => BodySink | undefined,
): void {
  Object.assign(channel, { bodyRoom: room, passOn });
}

/** Small bodies that come on a channel share memory: nobody may take that of one. */
export function shareBodies(channel: AMQPChannel): void {
  (channel as unknown as Assembling).sharesBodies = true;
}

/** Bytes of a body that was left out; 0: it is there. */
export function leftOutOf(message: AMQPMessage): number {
  return (message as IncomingMessage).isLeftOut === true ? message.bodySize! : 0;
}

/** The properties of a message as bytes, where all of them could be read. */
export function receivedProperties(message: AMQPMessage): Uint8Array | undefined {
  return (message as IncomingMessage).receivedProperties;
}

/** Small copies share a block: a buffer for each would cost more than the message that it belongs to. */
const BLOCK_BYTES = 8_192;
const SMALL_BYTES = 512;
const MOST_SINGLY = 128;
let block = new Uint8Array();
let used = 0;

function copyOf(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const copy = sharedRoom(end - start);
  copyTo(copy, 0, bytes, start, end);
  return copy;
}

/** Calls of `set` cost more than some bytes. */
function copyTo(
  target: Uint8Array,
  at: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  if (end - start > MOST_SINGLY) return target.set(bytes.subarray(start, end), at);
  while (start < end) target[at++] = bytes[start++]!;
}

function sharedRoom(length: number): Uint8Array {
  if (length > SMALL_BYTES) return new Uint8Array(length);
  if (used + length > block.length) {
    block = new Uint8Array(BLOCK_BYTES);
    used = 0;
  }
  return block.subarray(used, used += length);
}

/**
 * A delivery begins.
 *
 * @param start of the arguments of basic.deliver
 * @throws {RangeError} they are too short
 */
export function takeDelivery(
  channel: AMQPChannel,
  frames: FrameBuffer,
  start: number,
  end: number,
): void {
  (channel as unknown as Assembling).delivery = readDelivery(
    channel,
    frames,
    start,
    end,
  ) as IncomingMessage;
}

/**
 * @param start of its payload
 * @throws {ConnectionError | RangeError} not a content header, or out of turn
 */
export function takeHeader(
  channel: AMQPChannel,
  frames: FrameBuffer,
  start: number,
  end: number,
): void {
  const message = current(channel);
  if (message === undefined || message._rawBytes) {
    throw protocolError("a content header must follow its method, and came alone");
  }
  const { bytes } = frames;
  const header = readContentHeader(frames, start, end);
  message.bodySize = header.bodySize;
  message.properties = header.properties;
  const offset = header.propertiesOffset;
  if (offset !== undefined && message.deliveryTag !== undefined) {
    // A copy: the read buffer is overwritten by the next read.
    message.receivedProperties = copyOf(bytes, start + offset, end);
  }
  const { sharesBodies } = channel as unknown as Assembling;
  message._rawBytes = sharesBodies ? sharedRoom(header.bodySize) : new Uint8Array(header.bodySize);
  message.bodyPos = 0;
  (channel as unknown as Assembling).bodyRoom?.note(header.bodySize);
  if (header.bodySize === 0) channel.onMessageReady(message);
}

/**
 * @param bytes the read buffer; the part is in it from `start` to `end`
 * @throws {ConnectionError} nobody announced it, or not so much of it
 */
export function takeBody(
  channel: AMQPChannel,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  const message = current(channel);
  if (!message?._rawBytes) {
    throw protocolError("a body frame must follow its content header, and came alone");
  }
  const total = message.bodyPos + end - start;
  if (total > message.bodySize!) {
    throw protocolError(
      `a body of ${message.bodySize} bytes was announced, and at least ${total} arrived`,
    );
  }
  // How much room there is may have become known since it began.
  const { bodyRoom, passOn } = channel as unknown as Assembling;
  if (bodyRoom !== undefined && message.bodySize! > bodyRoom.single && message.isLeftOut !== true) {
    leaveOut(message);
    // What has come of it before is gone.
    if (message.bodyPos === 0) message.sink = passOn?.(message);
  }
  if (message.isLeftOut === true) message.sink?.write(bytes.subarray(start, end));
  else copyTo(message._rawBytes, message.bodyPos, bytes, start, end);
  message.bodyPos = total;
  if (total === message.bodySize) channel.onMessageReady(message);
}

function leaveOut(message: IncomingMessage): void {
  message.isLeftOut = true;
  const bytes = message._rawBytes!;
  message._rawBytes = new Uint8Array();
  if (bytes.length === bytes.buffer.byteLength) (bytes.buffer as ArrayBuffer).transfer(0);
}

/** A new method must not come before the content of the last one is complete. */
export function requireWhole(channel: AMQPChannel): void {
  const message = current(channel);
  if (message === undefined) return;
  throw protocolError(
    message._rawBytes
      ? `a body of ${message.bodySize} bytes was announced, and ended after ${message.bodyPos}`
      : "a content header must follow its method, and did not come",
  );
}

function current(channel: AMQPChannel): IncomingMessage | undefined {
  const { delivery, getMessage, returned } = channel as unknown as Assembling;
  return delivery ?? getMessage ?? returned;
}
