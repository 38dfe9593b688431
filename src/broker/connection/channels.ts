/** The channels of one connection, by number. */

import { Channel } from "../channel/channel.ts";
import { CHANNEL_BYTES } from "../channel/client_room.ts";
import type { ChannelHost } from "../channel/host.ts";
import { Fault } from "../wire/faults.ts";
import type { Arguments, Method } from "../wire/methods.ts";

/** States of a number: free > open > closing (we closed it, or its consumers are leaving) > free. */
export class Channels {
  readonly #session: ChannelHost;
  /** How many there may be. */
  readonly #most: number;
  /** A closing channel, whose frames are ignored until a close-ok, is null. */
  readonly #byNumber = new Map<number, Channel | null>();

  constructor(session: ChannelHost, most: number) {
    this.#session = session;
    this.#most = most;
  }

  /** The open channel that has this number. */
  find(number: number): Channel | undefined {
    return this.#byNumber.get(number) ?? undefined;
  }

  /** Those that are open. */
  *all(): Generator<Channel> {
    for (const channel of this.#byNumber.values()) if (channel !== null) yield channel;
  }

  isClosing(number: number): boolean {
    return this.#byNumber.get(number) === null;
  }

  get isFull(): boolean {
    return this.#byNumber.size >= this.#most;
  }

  /** @throws {Fault} not-allowed when it has too many, or all have */
  open(number: number): void {
    if (this.isFull) {
      throw new Fault(
        "not-allowed",
        `number of channels opened (${this.#byNumber.size}) has reached the negotiated ` +
          `channel_max (${this.#most})`,
      );
    }
    this.#session.clientShare.take(() => `open channel ${number}`, CHANNEL_BYTES);
    this.#byNumber.set(number, new Channel(this.#session, number));
    this.#session.send(number, "channel.open-ok", { channelId: "" });
  }

  /** What a client asks of an open channel. */
  handle(number: number, channel: Channel, method: Method): void {
    switch (method.name) {
      case "channel.open":
        throw secondOpen();
      case "channel.close":
        return this.#leave(number, channel);
      default:
        channel.handle(method);
    }
  }

  /** After a channel.close of ours everything up to close-ok was sent before it arrived. */
  handleClosing(number: number, method: Method): void {
    if (method.name === "channel.open") throw secondOpen();
    if (method.name === "channel.close-ok") this.#byNumber.delete(number);
    if (method.name === "channel.close") this.#session.send(number, "channel.close-ok", {});
  }

  /** Its client closes it, and may count on it that nothing of it is left once that is answered. */
  #leave(number: number, channel: Channel): void {
    this.#byNumber.set(number, null);
    this.#end([channel], () => {
      if (!this.isClosing(number)) return;
      this.#byNumber.delete(number);
      this.#session.send(number, "channel.close-ok", {});
    });
  }

  /** Closes an open channel for what its client did. */
  close(number: number, channel: Channel, reason: Arguments<"channel.close">): void {
    this.#end([channel]);
    this.#byNumber.set(number, null);
    this.#session.send(number, "channel.close", reason);
  }

  #end(channels: readonly Channel[], then?: () => void): void {
    this.#session.clientShare.giveBack(channels.length * CHANNEL_BYTES);
    Channel.end(this.#session, channels, then);
  }

  /** Consumers may be able to take messages again. */
  wake(): void {
    Channel.wake(this.all());
  }

  /** @param then when their consumers have left the queues */
  end(then: () => void): void {
    const channels = [...this.all()];
    this.#byNumber.clear();
    this.#end(channels, then);
  }
}

function secondOpen(): Fault {
  return new Fault("channel-error", "second 'channel.open' seen");
}
