/**
 * What a channel declares, binds and deletes. It remembers the queue declared last, which the empty
 * name stands for.
 */

import type { ChannelHost, Promised } from "./host.ts";
import { now } from "../../time/clock.ts";
import { exchangeTypeOf } from "../routing/exchange.ts";
import { accessRefused, Fault, notFound, preconditionFailed } from "../wire/faults.ts";
import type { Arguments, PromiseName } from "../wire/methods.ts";
import { randomName, withoutLineBreaks } from "../wire/names.ts";
import type { Queue } from "../queue/queue.ts";
import { refuseServerName } from "../queue/arguments.ts";
import type { Work } from "../../time/scheduler.ts";
import { DIRECT_REPLY_TO } from "../../task/topology.ts";
import type { BindingRequest } from "../routing/virtual_host.ts";

/** Milliseconds that the end of a queue waits for the next one of its dead letters to be sent. */
const LETTERS_MS = 1_000;

export class Declarations {
  readonly #session: ChannelHost;
  readonly #channel: number;
  /** The queue that "" stands for. */
  #lastQueue = "";

  constructor(session: ChannelHost, channel: number) {
    this.#session = session;
    this.#channel = channel;
  }

  /**
   * Answers once all is done and what was promised is on disk, unless the client does not want to
   * wait. Its next frame waits until it is done.
   */
  #reply<N extends PromiseName>(
    noWait: boolean,
    name: N,
    args: Arguments<N>,
    promised: Promised,
  ): void {
    const answer = () => {
      if (!noWait) this.#session.answerAfterCommit(this.#channel, name, args, promised);
    };
    const { unused } = this.#session.vhost;
    if (unused.isEmpty) answer();
    else this.#session.finishFirst(this.#channel, unused, answer);
  }

  // -- exchanges --

  declareExchange(args: Arguments<"exchange.declare">): void {
    const { passive, noWait } = args;
    const { vhost } = this.#session;
    const name = withoutLineBreaks(args.exchange);
    if (name === "") throw accessRefused("operation not permitted on the default exchange");
    if (passive) {
      vhost.exchange(name);
    } else {
      const { durable, autoDelete, internal } = args;
      const type = exchangeTypeOf(args.type);
      vhost.declareExchange({ name, type, durable, autoDelete, internal, table: args.arguments });
    }
    this.#reply(noWait, "exchange.declare-ok", {}, { exchange: name });
  }

  deleteExchange({ exchange: given, ifUnused, noWait }: Arguments<"exchange.delete">): void {
    const exchange = withoutLineBreaks(given);
    if (exchange === "") throw accessRefused("operation not permitted on the default exchange");
    this.#session.vhost.deleteExchange(exchange, ifUnused);
    this.#reply(noWait, "exchange.delete-ok", {}, { exchange });
  }

  bindExchange(args: Arguments<"exchange.bind">): void {
    const request = this.#exchangeBinding(args);
    this.#session.vhost.bind(request);
    this.#reply(args.noWait, "exchange.bind-ok", {}, request);
  }

  unbindExchange(args: Arguments<"exchange.unbind">): void {
    const request = this.#exchangeBinding(args);
    this.#session.vhost.unbind(request);
    this.#reply(args.noWait, "exchange.unbind-ok", {}, request);
  }

  #exchangeBinding(args: Arguments<"exchange.bind" | "exchange.unbind">): BindingRequest {
    return {
      source: withoutLineBreaks(args.source),
      destination: withoutLineBreaks(args.destination),
      kind: "exchange",
      routingKey: args.routingKey,
      arguments: args.arguments,
      connectionId: this.#session.id,
    };
  }

  // -- queues --

  /** "" names the queue that this channel declared last. */
  #expand(name: string): string {
    if (name !== "") return name;
    if (this.#lastQueue !== "") return this.#lastQueue;
    throw new Fault("not-found", "no previously declared queue");
  }

  /** @throws {Fault} when there is no such queue, or it belongs to another connection */
  queue(name: string): Queue {
    return this.#session.vhost.queue(this.#expand(name), this.#session.id);
  }

  declareQueue(args: Arguments<"queue.declare">): void {
    const { passive, noWait } = args;
    if (args.queue.startsWith(DIRECT_REPLY_TO)) return this.#declareReplyQueue(args.queue, noWait);
    const queue = passive ? this.#passiveQueue(args) : this.#createQueue(args);
    this.#lastQueue = queue.name;
    // A consumer of a paused queue is not active, and those are not counted (AMQP 0-9-1
    // queue.declare-ok).
    const consumerCount = queue.flow.paused ? 0 : queue.consumers.size;
    const counts = { messageCount: queue.readyCount, consumerCount };
    const { name } = queue;
    this.#reply(noWait, "queue.declare-ok", { queue: name, ...counts }, { queue: name });
  }

  /**
   * "" does not stand for the last queue here. Arguments are not looked at, as in RabbitMQ, but for
   * `x-paused`, by which a client can ask whether the queue is paused.
   */
  #passiveQueue({ queue: name, arguments: table }: Arguments<"queue.declare">): Queue {
    const queue = this.#session.vhost.queue(withoutLineBreaks(name), this.#session.id);
    queue.used();
    const [wanted, { paused }] = [table.get("x-paused"), queue.flow];
    if (wanted?.type === "bool" && wanted.value !== paused) {
      throw preconditionFailed(
        `inequivalent arg 'x-paused' for ${queue.title}: received '${wanted.value}' but current ` +
          `is '${paused}'`,
      );
    }
    return queue;
  }

  #createQueue(args: Arguments<"queue.declare">): Queue {
    const given = withoutLineBreaks(args.queue);
    if (given.startsWith("amq.")) {
      throw accessRefused(`queue name '${given}' contains reserved prefix 'amq.*'`);
    }
    if (given === "") refuseServerName(args.arguments);
    const { durable, exclusive, autoDelete } = args;
    // An exclusive queue cannot outlive its connection, so it is never durable.
    const flags = { durable: durable && !exclusive, exclusive, autoDelete };
    const name = given === "" ? randomName("amq.gen-") : given;
    const { vhost, id } = this.#session;
    return vhost.declareQueue(name, flags, args.arguments, id);
  }

  #declareReplyQueue(queue: string, noWait: boolean): void {
    if (queue !== DIRECT_REPLY_TO && this.#session.replyTo.find(queue) === undefined) {
      throw notFound(`queue '${queue}' in vhost '${this.#session.vhost.name}'`);
    }
    this.#lastQueue = queue;
    const counts = { messageCount: 0, consumerCount: 1 };
    this.#reply(noWait, "queue.declare-ok", { queue, ...counts }, "nothing");
  }

  bindQueue(args: Arguments<"queue.bind">): void {
    const request = this.#queueBinding(args);
    this.#session.vhost.bind(request);
    this.#reply(args.noWait, "queue.bind-ok", {}, request);
  }

  unbindQueue(args: Arguments<"queue.unbind">): void {
    const request = this.#queueBinding(args);
    this.#session.vhost.unbind(request);
    this.#reply(false, "queue.unbind-ok", {}, request);
  }

  /** With neither queue nor key, the key is the name of the last queue (AMQP 0-9-1 queue.bind). */
  #queueBinding(args: Arguments<"queue.bind" | "queue.unbind">): BindingRequest {
    const destination = withoutLineBreaks(this.#expand(args.queue));
    const isLast = args.queue === "" && args.routingKey === "";
    return {
      source: withoutLineBreaks(args.exchange),
      destination,
      kind: "queue",
      routingKey: isLast ? destination : args.routingKey,
      arguments: args.arguments,
      connectionId: this.#session.id,
    };
  }

  purgeQueue({ queue, noWait }: Arguments<"queue.purge">): void {
    const found = this.queue(queue);
    this.#reply(noWait, "queue.purge-ok", { messageCount: found.purge() }, "everything");
  }

  /**
   * Deleting a queue that does not exist is fine.
   * @param areLettersSent those of the queue, as it was when this was asked for
   */
  deleteQueue(args: Arguments<"queue.delete">, areLettersSent = false): void {
    const { queue: given, ifUnused, ifEmpty, noWait } = args;
    const { vhost } = this.#session;
    const name = withoutLineBreaks(this.#expand(given));
    let messageCount = 0;
    if (vhost.findQueue(name) !== undefined) {
      const queue = this.queue(name);
      checkDeletable(queue, ifUnused, ifEmpty);
      if (queue.dying > 0 && !areLettersSent) {
        return this.#session
          .finishFirst(this.#channel, lettersOf(queue), () => this.deleteQueue(args, true));
      }
      messageCount = vhost.deleteQueue(queue);
    }
    this.#reply(noWait, "queue.delete-ok", { messageCount }, { queue: name });
  }
}

/** @throws {Fault} precondition-failed */
function checkDeletable(queue: Queue, ifUnused: boolean, ifEmpty: boolean): void {
  if (ifEmpty && queue.readyCount > 0) throw preconditionFailed(`${queue.title} not empty`);
  if (ifUnused && queue.consumers.size > 0) throw preconditionFailed(`${queue.title} in use`);
}

/**
 * Waits for the dead letters of a queue that have died so far, as they are still stored in it; but
 * not for those that stand behind very many of other queues.
 */
function lettersOf(queue: Queue): Work {
  const end = queue.sentLetters + queue.dying;
  let sent = queue.sentLetters;
  let since = now();
  return {
    work: () => {
      if (queue.sentLetters > sent) {
        sent = queue.sentLetters;
        since = now();
      }
      return queue.dying > 0 && sent < end && now() - since < LETTERS_MS;
    },
  };
}
