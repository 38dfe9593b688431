/** What one case of the contract may use. */
import { assertEquals } from "@std/assert";
import {
  type HandshakeOptions,
  openPeer,
  Peer,
  type PeerChannel,
} from "../support/protocol_peer.ts";
import type { Arguments, Properties } from "../support/methods.ts";
import { uniqueName } from "../support/temp.ts";
import type { Table } from "../support/wire.ts";

export type BrokerName = "RabbitMQ" | "broker";

/** One broker, and what is closed and deleted after the case. */
export class Case implements AsyncDisposable {
  readonly #names: string[] = [];
  readonly #peers: Peer[] = [];

  constructor(readonly broker: BrokerName, readonly port: number) {}

  /** A name of this case alone; a queue or exchange of that name is deleted after it. */
  name(prefix = "q"): string {
    return this.adopt(uniqueName(prefix));
  }

  /** Deletes the queue or exchange of this name after the case. */
  adopt(name: string): string {
    this.#names.push(name);
    return name;
  }

  /** A connection after its handshake. */
  async peer(options: HandshakeOptions = {}): Promise<Peer> {
    return this.track(await openPeer(this.port, options));
  }

  /** A connection before its handshake. */
  async rawPeer(): Promise<Peer> {
    return this.track(new Peer(await Deno.connect({ hostname: "127.0.0.1", port: this.port })));
  }

  /** Channel 1 of a new connection. */
  async channel(options: HandshakeOptions = {}): Promise<PeerChannel> {
    return await (await this.peer(options)).open(1);
  }

  /** Declares a queue with a name of its own: durable, with these arguments. */
  async queue(channel: PeerChannel, args: Table = {}, flags: Arguments = {}): Promise<string> {
    // An exclusive queue goes with its connection, some time after that.
    const queue = flags.exclusive ? uniqueName("q") : this.name();
    await channel.call("queue.declare", { queue, durable: true, arguments: args, ...flags });
    return queue;
  }

  /** Declares an exchange with a name of its own: durable, of this type. */
  async exchange(
    channel: PeerChannel,
    type: string,
    args: Table = {},
    flags: Arguments = {},
  ): Promise<string> {
    const exchange = this.name("x");
    await channel.call("exchange.declare", {
      exchange,
      type,
      durable: true,
      arguments: args,
      ...flags,
    });
    return exchange;
  }

  /** Publishes through the default exchange on a channel beside; returns when all are confirmed. */
  async fill(channel: PeerChannel, queue: string, ...bodies: string[]): Promise<void> {
    const messages = bodies.map((body) => ({ body }));
    await this.publish(channel, { routingKey: queue }, ...messages);
  }

  /** Publishes on a channel beside this one; returns when all are confirmed. */
  async publish(
    channel: PeerChannel,
    args: Arguments,
    ...messages: { body?: string | Uint8Array; properties?: Properties }[]
  ): Promise<void> {
    const beside = await channel.peer.open(100);
    await beside.call("confirm.select");
    for (const { body, properties } of messages) await beside.publish(args, body, properties);
    for (let confirmed = 0; confirmed < messages.length;) {
      const ack = await beside.expect("basic.ack");
      confirmed = ack.multiple ? ack.deliveryTag : confirmed + 1;
    }
    await beside.call("channel.close");
  }

  /** Takes all messages off a queue with basic.get; gives their bodies. */
  async drain(channel: PeerChannel, queue: string): Promise<string[]> {
    const bodies: string[] = [];
    while (true) {
      await channel.send("basic.get", { queue, noAck: true });
      const frame = await channel.method();
      if (frame.name === "basic.get-empty") return bodies;
      assertEquals(frame.name, "basic.get-ok");
      bodies.push((await channel.readContent(frame.args)).text);
    }
  }

  /** Messages that are ready, and consumers, as a passive declaration tells them. */
  async counts(channel: PeerChannel, queue: string): Promise<{ ready: number; consumers: number }> {
    const ok = await channel.call("queue.declare", { queue, passive: true });
    return { ready: ok.messageCount, consumers: ok.consumerCount };
  }

  /**
   * Nothing has come on the channel, nor comes before the queue and the channel have worked off
   * what was sent to them so far.
   */
  async silent(channel: PeerChannel, queue: string): Promise<void> {
    for (let i = 0; i < 3; i++) await this.counts(channel, queue);
    assertEquals(channel.unread, 0, "frames that nobody expected");
  }

  /** Keeps a connection until the case ends. */
  track(peer: Peer): Peer {
    this.#peers.push(peer);
    return peer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of this.#peers) await peer[Symbol.asyncDispose]();
    if (this.#names.length === 0) return;
    await using peer = await openPeer(this.port);
    const channel = await peer.open();
    for (const name of this.#names) {
      await channel.call("queue.delete", { queue: name });
      await channel.call("exchange.delete", { exchange: name });
    }
  }
}
