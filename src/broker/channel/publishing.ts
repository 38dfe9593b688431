/**
 * What a channel publishes: checked, held while its transaction is open, routed, and returned when
 * nobody wants it.
 */

import type { ByteWriter } from "../wire/bytes.ts";
import type { Content } from "../message/content.ts";
import { copiesOf } from "../message/copies.ts";
import { ContentHeader, type HeaderChanges } from "../message/content_header.ts";
import type { Exchange } from "../routing/exchange.ts";
import { accessRefused, preconditionFailed } from "../wire/faults.ts";
import { type Publication, publicationOf } from "../message/message.ts";
import type { Table } from "../wire/fields.ts";
import type { Queue } from "../queue/queue.ts";
import { checkProperties, expirationOf } from "../message/properties.ts";
import { DIRECT_REPLY_TO } from "../../task/topology.ts";
import { Ahead, goesAhead } from "./ahead.ts";
import { Assembly } from "./assembly.ts";
import { Confirms } from "./confirms.ts";
import { giveUp, type HeldPublish, HeldPublishes, presentOf } from "./held_publishes.ts";
import { isCrowded, Spread } from "./spread.ts";
import { leadsTo, parseTarget, type Target } from "./target.ts";
import type { FoundRoute } from "../routing/found_routes.ts";
import { Way } from "../routing/way.ts";
import type { ChannelHost } from "./host.ts";

/** What is looked at, to find a way, in the time of a publish, as a power of two. */
const LOOKED_SHIFT = 2;

const NO_COPIES: readonly string[] = [];

/** Of the publish that has come last, whose bytes it keeps: one for all channels. */
const scanned = new ContentHeader();

export class Publishing {
  readonly #session: ChannelHost;
  readonly #channel: number;
  readonly #assembly: Assembly;
  #target: Target | undefined;
  /** Where what was found for it last is, in the version of that time. */
  #place = 0;
  #placeVersion = -1;
  /** What has arrived and is not routed yet. */
  #arrived: Content | undefined;
  /** Its body goes into the store first. */
  #ahead: Ahead | undefined;
  /** A publish that is on its way to very many queues. */
  #spread: Spread | undefined;
  /** Undefined: nothing is confirmed. */
  #confirms: Confirms | undefined;

  /** Undefined: no transactions. */
  #held: HeldPublishes | undefined;
  /** The routing key of answers to this channel, if it asks for any. Written by what the channel
   * consumes. */
  replyName: string | undefined;

  constructor(session: ChannelHost, channel: number) {
    this.#session = session;
    this.#channel = channel;
    this.#assembly = new Assembly(session);
  }

  /** Whether a content header or body must come next. */
  get isReceiving(): boolean {
    return this.#assembly.isReceiving;
  }

  /** {@link Assembly.wants} */
  wants(bytes: Uint8Array, start: number, size: number, isThere: boolean): number {
    return this.#assembly.wants(bytes, start, size, isThere);
  }

  /** @throws {Fault} unexpected-frame */
  expect(type: number): void {
    this.#assembly.expect(type);
  }

  // -- receiving --

  /** basic.publish: a method frame's payload. */
  receiveMethod(bytes: Uint8Array, start: number, end: number): void {
    if (this.#target === undefined || !leadsTo(this.#target, bytes, start, end)) {
      this.#target = parseTarget(bytes.slice(start, end));
    }
    this.#assembly.begin();
    this.#session.publishes(this.#confirms !== undefined || this.#held !== undefined);
  }

  receiveHeader(bytes: Uint8Array, start: number, end: number): void {
    // A long one takes as long to be understood as many others.
    this.#session.spread((end - start) >> 10);
    const { address } = this.#target!;
    const content = this.#assembly.receiveHeader(address, bytes, start, end);
    if (content !== undefined) this.#complete(content);
  }

  receiveBody(bytes: Uint8Array, start: number, end: number): void {
    const content = this.#assembly.receiveBody(bytes, start, end);
    if (content !== undefined) this.#complete(content);
  }

  // -- publishing --

  #complete(received: Content): void {
    this.#arrived = received;
    const target = this.#target!;
    const header = scanned.scanOf(received);
    const found = this.#find(target);
    const expiration = expirationOf(header.expiration);
    checkProperties(header, this.#session.user);
    const copies = header.hasCopies ? copiesOf(header.headers()) : NO_COPIES;
    const content = this.#forReceivers(received);
    const publication = publicationOf(content, header, expiration);
    if (content !== received) {
      this.#arrived = content;
      received.giveUp();
    }
    if (copies.length === 0) {
      const route = found.route ?? this.#findRoute(publication, target, found.exchange);
      return this.#routed(publication, target, route);
    }
    this.#routeCopies(publication, target, found.exchange, copies);
  }

  /** A publish with further keys. */
  #routeCopies(
    publication: Publication,
    target: Target,
    exchange: Exchange,
    copies: readonly string[],
  ): void {
    const keys = [target.routingKey, ...copies];
    let headers: Table | undefined;
    const way = new Way(
      this.#session.vhost,
      exchange,
      keys,
      () => headers ??= headersOf(publication),
    );
    way.step();
    if (way.isDone) return this.#routed(publication, target, [...way.queues]);
    this.#session.finishFirst(this.#channel, way, () => {
      this.#routed(publication, target, [...way.queues]);
    });
  }

  #routed(publication: Publication, target: Target, queues: readonly Queue[]): void {
    const kind = this.#session.isRefusing ? undefined : goesAhead(publication, queues);
    if (kind === undefined) return this.#give(publication, target, queues);
    const ahead = this.#ahead = new Ahead(this.#session, publication.content, kind);
    // Until it is written it counts as what waits for the commit.
    if (this.#held === undefined) this.#assembly.giveBack();
    this.#session.finishFirst(this.#channel, ahead, () => {
      this.#ahead = undefined;
      const content = this.#arrived = ahead.take();
      this.#give({ ...publication, content }, target, queues);
    }, { writes: true });
  }

  /** What it leads to is known, and its body is where it has to be. */
  #give(publication: Publication, target: Target, queues: readonly Queue[]): void {
    this.#arrived = undefined;
    if (this.#held !== undefined) {
      return this.#assembly.take(this.#held.add({ publication, target, queues }));
    }
    this.#assembly.giveBack();
    if (this.#session.isRefusing && !target.isReply) {
      publication.content.giveUp();
      return void this.#confirms!.add("refused");
    }
    // Most have one queue.
    const only = queues.length === 1 && !target.isReply ? queues[0]! : undefined;
    if (only !== undefined && !only.deleted) {
      const result = only.publish(publication) ? "accepted" : "refused";
      this.#confirms?.add(result);
      if (isCrowded(only)) this.#goOn(new Spread(publication, queues, 1));
      return;
    }
    const spread = this.#publish(publication, target, queues);
    if (spread === undefined) return void this.#confirms?.add("unrouted");
    spread.step();
    if (spread.isDone) this.#confirms?.add(spread.result);
    if (!spread.isDone || spread.isCrowded) this.#goOn(spread);
  }

  /** The next frame waits until all queues have it, and their dead letters are not too many. */
  #goOn(spread: Spread): void {
    const wasDone = spread.isDone;
    this.#spread = spread;
    this.#session.finishFirst(this.#channel, spread, () => {
      this.#spread = undefined;
      if (!wasDone) this.#confirms?.add(spread.result);
    });
  }

  /** From now on publishes are numbered and confirmed. */
  confirm(): void {
    this.#confirms ??= new Confirms(this.#session, this.#channel);
  }

  // -- transactions --

  /** From now on everything is held until the client commits. */
  hold(): void {
    this.#held ??= new HeldPublishes(this.#session);
  }

  /** {@link HeldPublishes.requireReturnRoom} */
  requireReturnRoom(): void {
    this.#held!.requireReturnRoom();
  }

  /** What was held, to be committed. The next transaction begins. */
  takeHeld(): HeldPublish[] {
    this.#assembly.giveBack();
    return this.#held!.take();
  }

  /** What was held is not to be published. The next transaction begins. */
  forgetHeld(): void {
    giveUp(this.takeHeld());
  }

  /** Publishes what was held. @returns false when a queue refused something */
  commit(publishes: HeldPublish[]): boolean {
    if (publishes.length > 0 && this.#session.isRefusing) {
      giveUp(publishes);
      return false;
    }
    let accepted = true;
    for (const { publication, target, queues } of publishes) {
      const spread = this.#publish(publication, target, presentOf(queues, this.#session.vhost));
      spread?.finish();
      if (spread?.result === "refused") accepted = false;
    }
    return accepted;
  }

  // -- routing --

  #find(target: Target): FoundRoute {
    const { vhost } = this.#session;
    const { found } = vhost;
    if (target.foundVersion === found.version) return found.at(this.#place);
    const exchange = vhost.exchange(target.exchange);
    if (exchange.identity.internal) {
      throw accessRefused(`cannot publish to internal ${exchange.title}`);
    }
    const place = this.#placeVersion === found.version ? this.#place : undefined;
    this.#place = found.add(exchange, place);
    this.#placeVersion = target.foundVersion = found.version;
    return found.at(this.#place);
  }

  /** @returns its way to the queues, to be gone; undefined: it leads to none */
  #publish(publication: Publication, target: Target, queues: readonly Queue[]): Spread | undefined {
    if (target.isReply) {
      return void this.#reply(publication, target);
    }
    if (queues.length === 0) {
      if (target.mandatory) this.#return(publication.content);
      publication.content.giveUp();
      return undefined;
    }
    if (queues.length > 1) this.#session.spread(queues.length);
    return new Spread(publication, queues);
  }

  /** Of a publish that has no further keys. By itself: the closure would be made for each. */
  #findRoute(publication: Publication, target: Target, exchange: Exchange): readonly Queue[] {
    const { vhost } = this.#session;
    let looksAtHeaders = false;
    const headers = () => {
      looksAtHeaders = true;
      return headersOf(publication);
    };
    const found = new Set<Queue>();
    const looked = vhost.route(exchange, { routingKey: target.routingKey, headers }, found);
    this.#session.spread(looked >> LOOKED_SHIFT);
    const route = [...found];
    if (!looksAtHeaders) vhost.found.complete(this.#place, route);
    return route;
  }

  #reply({ content }: Publication, target: Target): void {
    const requester = this.#session.replyTo.find(target.routingKey);
    const taken = requester?.deliverReply(content) ?? false;
    if (!taken && target.mandatory) this.#return(content);
    content.giveUp();
  }

  #return(content: Content): void {
    const { outbox, frameMax } = this.#session;
    outbox.frames
      .addressed(this.#channel, "basic.return", writeNoRoute, content.address, undefined);
    outbox.content(this.#channel, content, frameMax);
    outbox.answered();
    this.#session.touch();
  }

  /** As receivers see it: without BCC, and with an address for their replies. */
  #forReceivers(content: Content): Content {
    const header = scanned;
    const isAsking = header.replyTo === DIRECT_REPLY_TO;
    if (!isAsking && !header.hasCopies) return content;
    const changes: HeaderChanges = header.hasCopies ? { drop: ["BCC"] } : {};
    if (isAsking) {
      if (this.replyName === undefined) {
        throw preconditionFailed("fast reply consumer does not exist");
      }
      changes.replyTo = this.replyName;
    }
    return content.withHeader(header.rewrite(changes));
  }

  /** The channel is over. What it has begun to publish gets to all queues. */
  end(): void {
    if (this.#spread !== undefined) this.#session.outlive(this.#spread);
    this.#confirms?.end();
    this.#ahead?.end();
    this.#arrived?.giveUp();
    if (this.#held !== undefined) this.forgetHeld();
    this.#assembly.end();
  }
}

function headersOf({ content }: Publication): Table {
  return new ContentHeader().scanOf(content).headers();
}

function writeNoRoute(writer: ByteWriter): void {
  writer.short(312);
  writer.shortstr("NO_ROUTE");
}
