/**
 * Publishes what it is given, in order and for as long as a program lives, whatever becomes of the
 * connection. What a connection leaves unconfirmed is sent again over the next one, before anything
 * else.
 *
 * States: connecting (no link) > sending > ending, when the link takes nothing more, until all that
 * was sent on it has settled > connecting. `away` is beside that: from the first trouble until the
 * next confirm, or until there is a link and nothing to send.
 */
import {
  ChannelError,
  ConnectionError,
  EXIT,
  isForWhatWasSent,
  isLasting,
  reason,
  TaskError,
  ToolError,
} from "../errors.ts";
import { sleep } from "../time/sleep.ts";
import { after, LONGEST_TIMER_MS, type Timer } from "../time/timer.ts";
import { type Connector, reconnectPause } from "./connection.ts";
import { type Parcel, Parcels } from "./parcels.ts";
import { declareOnce, type OpenLink, PublishingLink } from "./publishing_link.ts";
import { Stall } from "./stall.ts";
import type { Transport } from "./transport.ts";

/** A task that ends the connection each time it is sent alone is refused then. */
const MOST_KILLS = 2;

export interface RelayOptions {
  readonly connector: Connector;
  /** Makes sure on every connection of what all parcels need. @throws {ToolError} */
  readonly prepare: (transport: Transport) => Promise<unknown>;
  /** After so long away everything is given back, in milliseconds. */
  readonly patience: number;
  /** The link was had for the first time, or is back. */
  readonly onBack: () => void;
  /** Nothing can be sent for now. */
  readonly onAway: (why: string) => void;
  /** Before the first confirm: nothing can be sent before somebody changes something. */
  readonly onUnable: (error: ToolError) => void;
}

export class Relay {
  readonly #options: RelayOptions;
  readonly #publishing: PublishingLink;
  readonly #parcels = new Parcels({
    onConfirmed: (link, parcel) => this.#onConfirmed(link, parcel),
    onFailed: (link, parcel, error) => this.#onFailed(link, parcel, error),
  });
  /** Sent on the link and not settled. */
  #flying = 0;
  #link: OpenLink | undefined;
  #pumping = false;
  /** Parcels that have to be sent one by one, because one of them has ended a channel. */
  #careful = 0;
  /** The link that ended for one that is known. */
  #refusedOn: OpenLink | undefined;
  /** When everything that was sent has settled, sending begins again with the first unsettled. */
  #rewinding = false;
  #failures = 0;
  #everLinked = false;
  /** Nothing can be sent before somebody changes something. */
  #isUnable = false;
  /** What was not sent is given back, or will be. */
  #stopped: Promise<void> | undefined;
  /** The last that one of those on the link was told. */
  #trouble: ToolError | undefined;
  #away = false;
  #patience: Timer | undefined;
  readonly #stall = new Stall((why, transport) => transport.destroy(new ConnectionError(why)));
  readonly #closing = new AbortController();
  #losses = 0;
  #repeats = 0;

  constructor(options: RelayOptions) {
    this.#options = options;
    // Of its own the publisher has no limit: ours looks at what moves.
    this.#publishing = new PublishingLink(options.connector, {
      confirmTimeout: LONGEST_TIMER_MS,
    });
  }

  /** Parcels may be sent now. */
  get isUp(): boolean {
    return this.#link !== undefined && !this.#away;
  }

  /** Parcels that are not settled. */
  get open(): number {
    return this.#parcels.open;
  }

  /** How often the link went. */
  get losses(): number {
    return this.#losses;
  }

  /** Parcels sent again, or given back, though a copy of them may have arrived. */
  get repeats(): number {
    return this.#repeats;
  }

  /** Connects. Never rejects. */
  start(): void {
    this.#connect();
  }

  add(parcel: Parcel): void {
    if (this.#closing.signal.aborted) return parcel.onGivenBack();
    this.#parcels.add(parcel);
    this.#pump();
  }

  /** What was not sent is not sent any more, and given back when `stopped` resolves. */
  drain(stopped: Promise<unknown>): void {
    for (const parcel of this.#parcels.unsettled()) {
      parcel.isKept = !parcel.isSent && !parcel.inDoubt;
    }
    this.#stopped = stopped.then(() => {
      this.#giveBack();
      this.#pump();
    });
  }

  /** Gives back what is not on its way: everything while there is no connection, or it is in vain. */
  #giveBack(all = this.#link === undefined || this.#isUnable): void {
    for (const parcel of this.#parcels.unsettled()) {
      if (parcel.isSettled || (parcel.isSent && !all)) continue;
      if (parcel.inDoubt || parcel.isSent) this.#repeats++;
      this.#parcels.settle(parcel);
      parcel.onGivenBack();
    }
  }

  /** Gives back everything, also what is on its way. */
  giveBackAll(): void {
    this.#giveBack(true);
  }

  /** Ends the connection; what is open is given back. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#patience?.cancel();
    this.#stall.cancel();
    this.#link = undefined;
    this.giveBackAll();
    const gone = new ConnectionError("the connection was closed by us");
    const goodbye = this.#publishing.close();
    // One that is just being made is not worth waiting for.
    if (!this.#everLinked || this.#away) this.#publishing.destroy(gone);
    else await goodbye;
  }

  async #connect(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      if (this.#everLinked || this.#failures > 0) {
        await sleep(reconnectPause(this.#failures, Math.random()), signal);
        if (signal.aborted) return;
      }
      this.#failures++;
      try {
        const link = await this.#publishing.open();
        await this.#prepare(link);
        if (signal.aborted) return;
        return this.#begin(link);
      } catch (error) {
        if (!(error instanceof ToolError)) throw error;
        if (signal.aborted) return;
        if (!this.#everLinked && isLasting(error)) return this.#options.onUnable(error);
        this.#goAway(error.message);
      }
    }
  }

  async #prepare(link: OpenLink): Promise<void> {
    try {
      await declareOnce(link, "", () => this.#options.prepare(link.transport));
    } catch (error) {
      link.transport.destroy(new ConnectionError("what is published to cannot be had"));
      throw error;
    }
  }

  #begin(link: OpenLink): void {
    this.#link = link;
    this.#trouble = undefined;
    this.#rewind();
    const isFirst = !this.#everLinked;
    this.#everLinked = true;
    link.transport.ended.then((error) => {
      if (this.#link === link && this.#flying === 0) this.#replace(error);
    });
    // With something to send, only a confirm says that it goes on.
    if (isFirst || (this.#away && this.#parcels.open === 0)) this.#comeBack();
    this.#pump();
  }

  /** The link takes nothing more, and everything sent on it has settled. */
  #replace(error: ToolError): void {
    if (this.#closing.signal.aborted) return;
    this.#link = undefined;
    // The cause is without the words about one task.
    this.#goAway((error.cause instanceof ToolError ? error.cause : error).message);
    this.#connect();
  }

  #goAway(why: string): void {
    if (this.#away) return;
    this.#away = true;
    if (this.#everLinked) this.#losses++;
    this.#options.onAway(why);
    this.#awaitPatience();
  }

  #awaitPatience(): void {
    this.#patience = after(this.#options.patience, () => {
      this.#giveBack();
      if (this.#away && !this.#closing.signal.aborted) this.#awaitPatience();
    });
  }

  #comeBack(): void {
    this.#away = false;
    this.#failures = 0;
    this.#patience?.cancel();
    this.#options.onBack();
  }

  /** Sends what may be sent now. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    let wait: Promise<void> | undefined;
    try {
      wait = this.#sendUntilWait();
    } finally {
      this.#pumping = false;
    }
    if (wait !== undefined) this.#pumpAfter(wait);
  }

  async #pumpAfter(wait: Promise<void>): Promise<void> {
    this.#pumping = true;
    try {
      await wait;
    } finally {
      this.#pumping = false;
    }
    this.#pump();
  }

  /** @returns what to wait for before more can be sent; undefined: something else begins it again */
  #sendUntilWait(): Promise<void> | undefined {
    for (;;) {
      const link = this.#link;
      if (link === undefined || this.#rewinding) return undefined;
      if (link.publisher.isEnded) return void this.#landed(link);
      const parcel = this.#parcels.next;
      if (parcel === undefined || parcel.isKept) return undefined;
      const { transport } = link;
      if (this.#careful > 0 && this.#flying > 0) return undefined;
      if (transport.blocked !== undefined) return this.#untilUnblocked(transport);
      if (transport.congested) return transport.drained();
      const { need } = parcel;
      if (need !== undefined && !link.declared.has(need.name)) {
        // Its answer would have to come behind all that is on its way, on a slow link for minutes.
        return this.#flying > 0 ? undefined : this.#makeNeed(link, parcel);
      }
      this.#send(link, parcel);
    }
  }

  async #untilUnblocked(transport: Transport): Promise<void> {
    this.#goAway(`it blocks publishers: ${transport.blocked}`);
    await transport.unblocked();
    if (!transport.isEnded && this.#flying === 0 && this.#link?.transport === transport) {
      this.#comeBack();
    }
  }

  async #makeNeed(link: OpenLink, parcel: Parcel): Promise<void> {
    const { name, ensure } = parcel.need!;
    try {
      await declareOnce(link, name, () => ensure(link.transport));
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      if (link.transport.isEnded) return;
      // Another task may need another queue, or none.
      if (isLasting(error)) this.#refuse(parcel, error);
      else link.transport.destroy(new ConnectionError(error.message));
    }
  }

  readonly #busyTransport = () => this.#flying === 0 ? undefined : this.#link?.transport;

  #send(link: OpenLink, parcel: Parcel): void {
    const publication = parcel.load();
    if (publication === undefined) return void this.#parcels.settle(parcel);
    parcel.isAlone = this.#careful > 0;
    this.#parcels.sent();
    if (parcel.inDoubt) this.#repeats++;
    this.#flying++;
    this.#stall.watch(this.#busyTransport);
    parcel.link = link;
    link.publisher.send(publication, parcel);
  }

  #onConfirmed(link: OpenLink, parcel: Parcel): void {
    this.#flying--;
    this.#stall.moved();
    if (this.#careful > 0) this.#careful--;
    if (this.#parcels.settle(parcel)) parcel.onArrived();
    if (this.#away && link.transport.blocked === undefined) this.#comeBack();
    this.#landed(link);
  }

  #onFailed(link: OpenLink, parcel: Parcel, failure: unknown): void {
    this.#flying--;
    const error = failure instanceof ToolError
      ? failure
      : new TaskError(reason(failure), EXIT.badData, { cause: failure });
    if (parcel.isSettled) return this.#landed(link, error);
    // Refused or returned it is not there; anything else leaves that open.
    parcel.inDoubt ||= !(error instanceof TaskError);
    const isReturned = error instanceof TaskError && error.exitCode === EXIT.unavailable;
    if (isReturned && parcel.returns++ === 0) {
      // Somebody may have deleted the queue after it was made sure of.
      link.declared.clear();
      this.#rewinding = true;
    } else if (error instanceof TaskError) {
      if (error.exitCode === EXIT.badData) this.#refusedOn = link;
      if (error.exitCode !== EXIT.temporary) this.#refuse(parcel, error);
    } else if (isForWhatWasSent(error)) this.#blame(link, parcel, error);
    this.#landed(link, error);
  }

  /** A channel or connection was closed for one of those that were on its way. */
  #blame(link: OpenLink, parcel: Parcel, error: ChannelError | ConnectionError): void {
    if (!parcel.isAlone) {
      if (this.#refusedOn !== link) this.#careful = this.#parcels.open;
    } else if (error instanceof ConnectionError) {
      if (++parcel.kills >= MOST_KILLS) this.#refuse(parcel, error);
    } else if (![403, 404].includes(error.replyCode)) this.#refuse(parcel, error);
    // A permission, or the exchange: it concerns them all.
    else if (!this.#stall.hasMoved) {
      this.#isUnable = true;
      this.#options.onUnable(error);
      this.#stopped?.then(() => this.#giveBack());
    }
  }

  /** One that was sent has settled. @param error if it was not confirmed */
  #landed(link: OpenLink, error?: ToolError): void {
    if (this.#link !== link) return;
    this.#trouble = error ?? this.#trouble;
    if (this.#flying === 0) {
      if (link.publisher.isEnded) {
        return this.#replace(
          this.#trouble ?? new ConnectionError("it takes no more tasks on this channel"),
        );
      }
      if (this.#rewinding) return void this.#prepareAgain(link);
    }
    this.#pump();
  }

  /** What was sent has come back as unroutable. */
  async #prepareAgain(link: OpenLink): Promise<void> {
    try {
      await this.#prepare(link);
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      // Each of them is told so when it is returned again.
      if (!isLasting(error) || link.transport.isEnded) {
        return this.#link === link ? this.#replace(error) : undefined;
      }
    }
    this.#rewind();
    this.#pump();
  }

  #refuse(parcel: Parcel, error: ToolError): void {
    this.#parcels.settle(parcel);
    if (this.#careful > 0) this.#careful--;
    parcel.onRefused(error);
  }

  /** Sending begins again with the first that is not settled. */
  #rewind(): void {
    this.#rewinding = false;
    this.#parcels.rewind();
  }
}
