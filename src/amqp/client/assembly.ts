/**
 * Puts incoming content together on a channel: a method (basic.deliver, basic.return), its header,
 * its body frames (section 4.2.6).
 *
 * Works around @cloudamqp/amqp-client 4.1.1, which reads a body that nobody announced as frames,
 * sets aside whatever memory a header announces, and throws where it cannot read a property.
 */
import type { AMQPChannel } from "@cloudamqp/amqp-client/amqp-channel";
import type { AMQPMessage } from "@cloudamqp/amqp-client/amqp-message";
import { readContentHeader, requireBodySize } from "./content_header.ts";
import { type BodySink, IncomingMessage } from "./incoming_message.ts";
import { findPlainId, PROPERTIES_OFFSET, readDelivery } from "./plain_content.ts";
import { type FrameBuffer, protocolError } from "../frame_buffer.ts";

/**
 * What the package keeps on a channel between a method and the end of its content; it leaves these
 * fields out of its published types.
 */
interface Assembling {
  delivery?: IncomingMessage | undefined;
  getMessage?: IncomingMessage;
  returned?: IncomingMessage;
  /** Ours. */
  bodyRoom?: BodyRoom;
  passOn?: (message: AMQPMessage) => BodySink | undefined;
  readsLater?: boolean;
  sharesBodies?: boolean;
  /** The one object for all that is delivered, where nobody keeps it. */
  spare?: IncomingMessage;
}

/** Memory for bodies. */
export interface BodyRoom {
  /** Bytes of one; a larger one is left out. */
  readonly single: number;
  /** One of so many bytes begins. */
  note(bytes: number): void;
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

/**
 * What is delivered on a channel is taken as {@linkcode incoming} gives it, where plain properties
 * are bytes.
 *
 * @param sharesBodies small ones share memory: nobody may take that of one
 */
export function readLater(channel: AMQPChannel, sharesBodies: boolean): void {
  const spare = new IncomingMessage();
  Object.assign(channel, { readsLater: true, sharesBodies, spare });
}

/** A message that has come on a channel, as it is; after {@linkcode readLater} until the next one. */
export function incoming(message: AMQPMessage): IncomingMessage {
  return message as unknown as IncomingMessage;
}

/** The properties of a message as bytes, where all of them could be read. */
export function receivedProperties(message: AMQPMessage): Uint8Array | undefined {
  const { received, receivedStart, receivedEnd } = incoming(message);
  return received?.subarray(receivedStart, receivedEnd);
}

/** Small copies share a block: a buffer for each would cost more than the message that it belongs to. */
const BLOCK_BYTES = 8_192;
const SMALL_BYTES = 512;
const MOST_SINGLY = 128;
let block = new Uint8Array();
let blockView = new DataView(block.buffer);
let used = 0;

/** @returns where they begin in {@linkcode block} */
function takeOfBlock(length: number): number {
  if (used + length > block.length) {
    block = new Uint8Array(BLOCK_BYTES);
    blockView = new DataView(block.buffer);
    used = 0;
  }
  used += length;
  return used - length;
}

/** Four bytes at a time: a call of `set` costs more, and so do single ones. */
function copyToBlock(at: number, { bytes, view }: FrameBuffer, start: number, end: number): void {
  for (; start + 4 <= end; start += 4, at += 4) blockView.setInt32(at, view.getInt32(start));
  while (start < end) block[at++] = bytes[start++]!;
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
  const assembling = channel as unknown as Assembling;
  assembling.spare?.clear();
  const message = assembling.spare ?? new IncomingMessage();
  assembling.delivery = readDelivery(message, frames, start, end);
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
  const { delivery, readsLater, sharesBodies } = channel as unknown as Assembling;
  const bodySize = message.bodySize = requireBodySize(frames, start, end);
  const idStart = readsLater === true && message === delivery
    ? findPlainId(frames, start, end)
    : undefined;
  let offset: number | undefined = PROPERTIES_OFFSET;
  if (idStart !== undefined) {
    message.isPlain = true;
    message.idStart = idStart;
  } else {
    const header = readContentHeader(frames, start, end);
    message.properties = header.properties;
    offset = header.propertiesOffset;
  }
  // A copy: the read buffer is overwritten by the next read.
  if (offset !== undefined) keepProperties(message, frames, start + offset, end);
  if (sharesBodies === true && bodySize <= SMALL_BYTES) {
    message.bodyStart = takeOfBlock(bodySize);
    message._rawBytes = block;
  } else {
    message.bodyStart = 0;
    message._rawBytes = new Uint8Array(bodySize);
  }
  (channel as unknown as Assembling).bodyRoom?.note(bodySize);
  if (bodySize === 0) complete(channel, message);
}

function keepProperties(
  message: IncomingMessage,
  frames: FrameBuffer,
  start: number,
  end: number,
): void {
  const length = end - start;
  const isSmall = length <= SMALL_BYTES;
  const at = message.receivedStart = isSmall ? takeOfBlock(length) : 0;
  message.receivedEnd = at + length;
  if (message.idStart > 0) message.idStart += at - start;
  if (isSmall) {
    message.received = block;
    copyToBlock(at, frames, start, end);
  } else message.received = frames.bytes.slice(start, end);
}

/** As the package does it, but it takes the field away from the channel, which makes that a slow one. */
function complete(channel: AMQPChannel, message: IncomingMessage): void {
  const assembling = channel as unknown as Assembling;
  if (assembling.delivery !== message) return channel.onMessageReady(message as never);
  message.body = message._rawBytes;
  assembling.delivery = undefined;
  channel.deliver(message as never);
}

/**
 * @param start of the part in the read buffer
 * @throws {ConnectionError} nobody announced it, or not so much of it
 */
export function takeBody(
  channel: AMQPChannel,
  frames: FrameBuffer,
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
  if (bodyRoom !== undefined && message.bodySize > bodyRoom.single && !message.isLeftOut) {
    leaveOut(message);
    // What has come of it before is gone.
    if (message.bodyPos === 0) message.sink = passOn?.(message as never);
  }
  const { bytes } = frames;
  if (message.isLeftOut) message.sink?.write(bytes.subarray(start, end));
  else if (message._rawBytes === block) {
    copyToBlock(message.bodyStart + message.bodyPos, frames, start, end);
  } else copyTo(message._rawBytes, message.bodyStart + message.bodyPos, bytes, start, end);
  message.bodyPos = total;
  if (total === message.bodySize) complete(channel, message);
}

function leaveOut(message: IncomingMessage): void {
  message.isLeftOut = true;
  const bytes = message._rawBytes!;
  message._rawBytes = new Uint8Array();
  message.bodyStart = 0;
  if (bytes.length === message.bodySize && bytes.length === bytes.buffer.byteLength) {
    (bytes.buffer as ArrayBuffer).transfer(0);
  }
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
