/**
 * Who deals with a frame of the broker: the connection, the assembly of content, or the package.
 *
 * Works around @cloudamqp/amqp-client 4.1.1, which writes connection.start-ok for PLAIN alone and
 * forgets who the broker is, takes a limit of 0 in connection.tune for the least, does not report a
 * channel or a consumer that the broker ends, and reads both bits of basic.nack as one number.
 */
import type { AMQPChannel } from "@cloudamqp/amqp-client/amqp-channel";
import {
  BasicMethod,
  ChannelMethod,
  ClassId,
  ConnectionMethod,
  Type,
} from "@cloudamqp/amqp-client/amqp-frame";
import { requireWhole, takeBody, takeDelivery, takeHeader } from "./assembly.ts";
import { type FrameBuffer, protocolError } from "../frame_buffer.ts";
import { FRAME_HEADER_BYTES, METHOD_IDS_BYTES } from "../protocol.ts";
import { comesFromBroker } from "./methods.ts";
import { AMQPView } from "./view.ts";

/** A connection, as its frames see it. Views belong to the read buffer. */
export interface FrameReceiver {
  channel(id: number): AMQPChannel | undefined;
  /** connection.start, tune, open-ok, close or close-ok. @throws {ConnectionError} out of turn */
  onConnectionMethod(methodId: ConnectionMethod, args: AMQPView): void;
  onChannelClose(channelId: number, args: AMQPView): void;
  onConsumerCancel(channelId: number, args: AMQPView): void;
  /** The whole frame is for the package. */
  leaveToPackage(frame: AMQPView): void;
}

/**
 * @param start of the frame in the buffer
 * @param end behind its end byte
 * @throws {ConnectionError | RangeError} the frame has no meaning where it stands
 */
export function dispatch(
  receiver: FrameReceiver,
  frames: FrameBuffer,
  start: number,
  end: number,
): void {
  const { view } = frames;
  switch (view.getUint8(start)) {
    case Type.METHOD:
      return dispatchMethod(receiver, frames, start, end);
    case Type.HEADER: {
      const channel = receiver.channel(view.getUint16(start + 1));
      if (channel !== undefined) takeHeader(channel, frames, start + FRAME_HEADER_BYTES, end - 1);
      return;
    }
    case Type.BODY: {
      const channel = receiver.channel(view.getUint16(start + 1));
      if (channel !== undefined) takeBody(channel, frames, start + FRAME_HEADER_BYTES, end - 1);
      return;
    }
    case Type.HEARTBEAT:
      return;
    default:
      throw protocolError(`a frame type must be 1, 2, 3 or 8, and is ${view.getUint8(start)}`);
  }
}

function dispatchMethod(
  receiver: FrameReceiver,
  frames: FrameBuffer,
  start: number,
  end: number,
): void {
  const { bytes, view } = frames;
  if (view.getUint32(start + 3) < METHOD_IDS_BYTES) {
    throw protocolError("a method frame is too short");
  }
  const classId = view.getUint16(start + 7);
  const methodId = view.getUint16(start + 9);
  const channelId = view.getUint16(start + 1);
  const channel = receiver.channel(channelId);
  if (channel !== undefined) requireWhole(channel);
  if (classId === ClassId.BASIC && methodId === BasicMethod.DELIVER && channel !== undefined) {
    return takeDelivery(channel, frames, start + FRAME_HEADER_BYTES + METHOD_IDS_BYTES, end - 1);
  }
  if (isForPackage(classId, methodId, channel)) {
    return receiver.leaveToPackage(new AMQPView(bytes.buffer, start, end - start));
  }
  const args = payload(frames, start, end, METHOD_IDS_BYTES);
  if (classId === ClassId.CONNECTION) return receiver.onConnectionMethod(methodId, args);
  if (classId === ClassId.BASIC && methodId === BasicMethod.CANCEL) {
    return receiver.onConsumerCancel(channelId, args);
  }
  if (classId === ClassId.BASIC && methodId === BasicMethod.NACK) {
    return onNack(channel, args);
  }
  if (classId === ClassId.CHANNEL && methodId === ChannelMethod.CLOSE) {
    return receiver.onChannelClose(channelId, args);
  }
  throw outOfTurn(classId, methodId);
}

/**
 * The package reads both bits as one number, and RabbitMQ sets the one that means nothing here
 * (requeue): of all that are refused it would hear of the last.
 */
function onNack(channel: AMQPChannel | undefined, args: AMQPView): void {
  const deliveryTag = args.getUint64(0);
  const multiple = (args.getUint8(8) & 1) === 1;
  channel?.publishConfirmed(deliveryTag, multiple, true);
}

function isForPackage(
  classId: ClassId,
  methodId: number,
  channel: AMQPChannel | undefined,
): boolean {
  if (classId === ClassId.CONNECTION) {
    // Not close-ok: it makes errors of that, for which V8 reads its long function again, to know where
    // they come from; a millisecond of the end of new_task.
    return methodId === ConnectionMethod.BLOCKED || methodId === ConnectionMethod.UNBLOCKED;
  }
  if (!comesFromBroker(classId, methodId)) return false;
  // Nobody asked to close a channel that is open.
  const unasked = classId === ClassId.CHANNEL && methodId === ChannelMethod.CLOSE_OK &&
    channel?.closed === false;
  return !unasked;
}

/** @param skip bytes at its beginning */
function payload(frames: FrameBuffer, start: number, end: number, skip: number): AMQPView {
  const from = start + FRAME_HEADER_BYTES + skip;
  return new AMQPView(frames.bytes.buffer, from, end - 1 - from);
}

/** The broker sent a method that it may not send, or not now. */
export function outOfTurn(classId: ClassId, methodId: number): Error {
  return protocolError(`the method ${classId}.${methodId} came out of turn`);
}
