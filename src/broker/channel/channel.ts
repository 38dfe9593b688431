/**
 * A channel: who does what each method asks for, in one flat list. What is declared, published,
 * consumed and settled on it has a class each; none of them knows sockets or reply codes.
 */

import { ByteReader, readLong } from "../wire/bytes.ts";
import { Consuming } from "./consuming.ts";
import { Declarations } from "./declarations.ts";
import type { ChannelHost } from "./host.ts";
import { Fault, notImplemented, preconditionFailed } from "../wire/faults.ts";
import { FrameType } from "../wire/frames.ts";
import {
  type Arguments,
  BASIC_CLASS,
  BASIC_PUBLISH,
  type Method,
  type PlainName,
} from "../wire/methods.ts";
import { eachInPieces } from "../../time/pieces.ts";
import { Publishing } from "./publishing.ts";
import type { Queue } from "../queue/queue.ts";
import { Settling } from "./settling.ts";
import { requeueAll, type Unacked } from "./unacked.ts";

/**
 * States: open > silent (its connection ends: nothing is delivered here any more) > ended, or
 * open > ended. While it is open its mode is plain, and then confirm or tx for good.
 */
export class Channel {
  readonly number: number;
  readonly publishing: Publishing;
  readonly #session: ChannelHost;
  readonly #declarations: Declarations;
  readonly #consuming: Consuming;
  readonly #settling: Settling;
  #mode: "plain" | "confirm" | "tx" = "plain";

  constructor(session: ChannelHost, number: number) {
    this.#session = session;
    this.number = number;
    this.publishing = new Publishing(session, number);
    this.#declarations = new Declarations(session, number);
    this.#consuming = new Consuming(session, number, this.#declarations, this.publishing);
    this.#settling = new Settling(session, number, this.#consuming);
  }

  #send<N extends PlainName>(name: N, args: Arguments<N>): void {
    this.#session.send(this.number, name, args);
  }

  /** Method, header or body frame. @returns the method still to be done, unless it is done */
  receive(type: number, bytes: Uint8Array, start: number, end: number): ByteReader | undefined {
    const { publishing } = this;
    publishing.expect(type);
    if (type === FrameType.body) publishing.receiveBody(bytes, start, end);
    else if (type === FrameType.header) publishing.receiveHeader(bytes, start, end);
    else if (isPublish(bytes, start, end)) publishing.receiveMethod(bytes, start, end);
    else return new ByteReader(bytes, start, end);
    return undefined;
  }

  /** basic.ack: its tag and its bits. */
  acknowledge(bytes: Uint8Array, start: number): void {
    const tag = readLong(bytes, start) * 0x1_0000_0000 + readLong(bytes, start + 4);
    this.#settling.settle(tag, (bytes[start + 8]! & 1) !== 0, "ack");
  }

  handle(method: Method): void {
    switch (method.name) {
      case "channel.flow":
        return this.#flow(method.args);
      case "access.request":
        return this.#send("access.request-ok", { ticket: 1 });
      case "exchange.declare":
        return this.#declarations.declareExchange(method.args);
      case "exchange.delete":
        return this.#declarations.deleteExchange(method.args);
      case "exchange.bind":
        return this.#declarations.bindExchange(method.args);
      case "exchange.unbind":
        return this.#declarations.unbindExchange(method.args);
      case "queue.declare":
        return this.#declarations.declareQueue(method.args);
      case "queue.bind":
        return this.#declarations.bindQueue(method.args);
      case "queue.unbind":
        return this.#declarations.unbindQueue(method.args);
      case "queue.purge":
        return this.#declarations.purgeQueue(method.args);
      case "queue.delete":
        return this.#declarations.deleteQueue(method.args);
      case "basic.qos":
        return this.#consuming.qos(method.args);
      case "basic.consume":
        return this.#consuming.consume(method.args);
      case "basic.cancel":
        return this.#consuming.cancel(method.args);
      case "basic.get":
        return this.#consuming.get(method.args);
      case "basic.ack":
        return this.#settling.settle(method.args.deliveryTag, method.args.multiple, "ack");
      case "basic.nack":
        return this.#settling.nack(method.args);
      case "basic.reject":
        return this.#settling.nack({ ...method.args, multiple: false });
      case "basic.recover":
        return this.#settling.recover(method.args.requeue, "basic.recover-ok");
      case "basic.recover-async":
        return this.#settling.recover(method.args.requeue, undefined);
      case "confirm.select":
        return this.#confirmSelect(method.args);
      case "tx.select":
        return this.#txSelect();
      case "tx.commit":
        return this.#txCommit();
      case "tx.rollback":
        return this.#txRollback();
      default:
        throw new Fault("command-invalid", "unimplemented method");
    }
  }

  #flow({ active }: Arguments<"channel.flow">): void {
    if (!active) throw notImplemented("active=false");
    this.#send("channel.flow-ok", { active });
  }

  // -- confirms and transactions --

  /** @throws {Fault} precondition-failed: the client has chosen the other one before */
  #enter(mode: "confirm" | "tx"): void {
    if (this.#mode !== "plain" && this.#mode !== mode) {
      throw preconditionFailed(`cannot switch from ${this.#mode} to ${mode} mode`);
    }
    this.#mode = mode;
  }

  #confirmSelect({ noWait }: Arguments<"confirm.select">): void {
    this.#enter("confirm");
    this.publishing.confirm();
    if (!noWait) this.#send("confirm.select-ok", {});
  }

  #txSelect(): void {
    this.#enter("tx");
    this.publishing.hold();
    this.#settling.hold();
    this.#send("tx.select-ok", {});
  }

  /** Publishes and acknowledgements of the transaction become one commit of the store. */
  #txCommit(): void {
    this.#requireTransaction();
    this.publishing.requireReturnRoom();
    const publishes = this.publishing.takeHeld();
    const settlements = this.#settling.takeHeld();
    const accepted = this.publishing.commit(publishes);
    if (accepted) {
      this.#session.answerAfterCommit(this.number, "tx.commit-ok", {}, "everything");
    }
    this.#settling.applyAll(settlements);
    if (!accepted) throw preconditionFailed("partial tx completion");
  }

  /** Publishes are forgotten; acknowledgements may be sent again. */
  #txRollback(): void {
    this.#requireTransaction();
    this.publishing.forgetHeld();
    this.#settling.rollback(() => this.#send("tx.rollback-ok", {}));
  }

  #requireTransaction(): void {
    if (this.#mode !== "tx") throw preconditionFailed("channel is not transactional");
  }

  /** Its deliveries that are not settled. */
  get unacked(): Unacked {
    return this.#consuming.unacked;
  }

  /** How many consumers it has. */
  get consumers(): number {
    return this.#consuming.size;
  }

  /** The consumers of some channels may be able to take messages again. */
  static wake(channels: Iterable<Channel>): void {
    // Each queue asks all its consumers, of which many channels may have some.
    const queues = new Set<Queue>();
    for (const channel of channels) {
      for (const queue of channel.#consuming.takeRefused()) queues.add(queue);
    }
    for (const queue of queues) queue.wake();
  }

  // -- ending --

  /**
   * Some channels of a connection are over. First none of them takes deliveries any more, then what they
   * hold goes back to the queues, and only then do their consumers leave these. The next one would else
   * be served from behind what comes back. Each queue hears of it once, for all of them, and may go with
   * its last consumer.
   * @param session of all of them
   * @param then when the consumers have left
   */
  static end(session: ChannelHost, channels: readonly Channel[], then = () => {}): void {
    for (const channel of channels) channel.#consuming.silence();
    for (const { publishing } of channels) publishing.end();
    requeueAll(channels.flatMap((channel) => channel.#settling.end()));
    const consumers = channels.flatMap((channel) => channel.#consuming.end());
    eachInPieces(
      Map.groupBy(consumers, ({ queue }) => queue),
      ([queue, consumers]) => queue.removeConsumers(consumers),
      (work) => session.outlive(work),
      then,
    );
  }
}

function isPublish(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start >= 4 && bytes[start] === 0 && bytes[start + 1] === BASIC_CLASS &&
    bytes[start + 2] === 0 && bytes[start + 3] === BASIC_PUBLISH;
}
