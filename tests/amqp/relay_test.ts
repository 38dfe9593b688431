import { assertEquals, assertMatch } from "@std/assert";
import { Parcel } from "../../src/amqp/parcels.ts";
import { Relay, type RelayOptions } from "../../src/amqp/relay.ts";
import type { Peer, PeerChannel } from "../support/protocol_peer.ts";
import { ScriptedServer } from "../support/scripted_server.ts";
import { within } from "../support/wait.ts";
import { connectorFor } from "../worker/bench.ts";

/** Parcels that write down what became of them. */
class Fates {
  readonly told: string[] = [];
  readonly #all = Promise.withResolvers<void>();
  readonly #count: number;

  constructor(count: number) {
    this.#count = count;
  }

  parcel(name: string, onArrived = () => {}): Parcel {
    const tell = (fate: string) => {
      this.told.push(`${name} ${fate}`);
      if (fate === "confirmed") onArrived();
      if (this.told.length === this.#count) this.#all.resolve();
    };
    return new class extends Parcel {
      need = undefined;
      load = () => ({
        exchange: "",
        routingKey: "q",
        body: new TextEncoder().encode(name),
        properties: { messageId: name },
      });
      onArrived = () => tell("confirmed");
      onRefused = () => tell("refused");
      onGivenBack = () => tell("given back");
    }();
  }

  get all(): Promise<void> {
    return within("all to be settled", this.#all.promise);
  }
}

function relayTo(url: string, options: Partial<RelayOptions> = {}): Relay {
  return new Relay({
    connector: connectorFor(url),
    prepare: () => Promise.resolve(),
    patience: 60_000,
    onBack: () => {},
    onAway: () => {},
    onUnable: () => {},
    ...options,
  });
}

async function openPublisher(peer: Peer, id = 1): Promise<PeerChannel> {
  const channel = peer.channel(id);
  await channel.expect("channel.open");
  await channel.send("channel.open-ok");
  await channel.expect("confirm.select");
  await channel.send("confirm.select-ok");
  return channel;
}

async function expectTasks(channel: PeerChannel, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await channel.expectContent("basic.publish");
}

async function goodbye(peer: Peer): Promise<void> {
  await peer.channel(0).expect("connection.close");
  await peer.channel(0).send("connection.close-ok");
}

Deno.test("of many on their way, the one that the broker closes the channel for is refused alone", async () => {
  const oddity = { replyCode: 406, replyText: "an odd header", classId: 60, methodId: 40 };
  await using server = new ScriptedServer(async (peer: Peer) => {
    await peer.acceptHandshake();
    const refuse = async (channel: PeerChannel) => {
      await channel.send("channel.close", oddity);
      await channel.expect("channel.close-ok");
    };
    let channel = await openPublisher(peer);
    await expectTasks(channel, 4);
    await refuse(channel);
    // Which of them it is shows when each is sent alone.
    channel = await openPublisher(peer);
    await expectTasks(channel, 1);
    await channel.send("basic.ack", { deliveryTag: 1 });
    await expectTasks(channel, 1);
    await refuse(channel);
    channel = await openPublisher(peer);
    await expectTasks(channel, 1);
    await channel.send("basic.ack", { deliveryTag: 1 });
    await expectTasks(channel, 1);
    await channel.send("basic.ack", { deliveryTag: 2 });
    await goodbye(peer);
  });
  const relay = relayTo(server.url);
  const fates = new Fates(4);
  for (const name of ["a", "odd", "c", "d"]) relay.add(fates.parcel(name));
  relay.start();
  await fates.all;
  await relay.close();
  assertEquals(fates.told, ["a confirmed", "odd refused", "c confirmed", "d confirmed"]);
});

Deno.test("what was refused for now is sent again, in order, and what is not sent is given back", async () => {
  const sent = Promise.withResolvers<void>();
  await using server = new ScriptedServer(async (peer: Peer) => {
    await peer.acceptHandshake();
    const full = await openPublisher(peer);
    await expectTasks(full, 3);
    await full.send("basic.nack", { deliveryTag: 3, multiple: true });
    await full.expect("channel.close");
    await full.send("channel.close-ok");
    const channel = await openPublisher(peer, 2);
    await expectTasks(channel, 3);
    await channel.send("basic.ack", { deliveryTag: 2, multiple: true });
    await peer.channel(0).send("connection.blocked", { reason: "full" });
    await channel.send("basic.ack", { deliveryTag: 3 });
    await sent.promise;
    await goodbye(peer);
  });
  const relay = relayTo(server.url);
  const fates = new Fates(4);
  relay.add(fates.parcel("a"));
  relay.add(fates.parcel("b"));
  relay.start();
  await within(
    "both",
    new Promise<void>((resolve) => relay.add(fates.parcel("c", resolve))),
  );
  relay.add(fates.parcel("d"));
  const stopped = Promise.withResolvers<void>();
  relay.drain(stopped.promise);
  await undefined;
  assertEquals(fates.told.length, 3);
  stopped.resolve();
  await fates.all;
  sent.resolve();
  await relay.close();
  assertEquals(fates.told, ["a confirmed", "b confirmed", "c confirmed", "d given back"]);
});

Deno.test("where nothing may be published everything is given back, and nobody waits", async () => {
  const forbidden = { replyCode: 403, replyText: "not you", classId: 60, methodId: 40 };
  await using server = new ScriptedServer(async (peer: Peer) => {
    await peer.acceptHandshake();
    // Sent together, and then the first of them alone.
    for (const count of [2, 1]) {
      const channel = await openPublisher(peer);
      await expectTasks(channel, count);
      await channel.send("channel.close", forbidden);
      await channel.expect("channel.close-ok");
    }
  });
  const why: string[] = [];
  const relay: Relay = relayTo(server.url, {
    onUnable: ({ message }) => {
      why.push(message);
      relay.drain(Promise.resolve());
    },
  });
  const fates = new Fates(2);
  for (const name of ["a", "b"]) relay.add(fates.parcel(name));
  relay.start();
  await fates.all;
  assertEquals(fates.told, ["a given back", "b given back"]);
  assertEquals(why.length, 1);
  assertMatch(why[0]!, /not you \(403\)/);
  await relay.close();
});

Deno.test("it is told why nothing can be sent, when only some of it was refused", async () => {
  await using server = new ScriptedServer(async (peer: Peer) => {
    await peer.acceptHandshake();
    const full = await openPublisher(peer);
    await expectTasks(full, 2);
    await full.send("basic.nack", { deliveryTag: 1 });
    await full.send("basic.ack", { deliveryTag: 2 });
    await full.expect("channel.close");
    await full.send("channel.close-ok");
    const channel = await openPublisher(peer, 2);
    await expectTasks(channel, 1);
    await channel.send("basic.ack", { deliveryTag: 1 });
    await goodbye(peer);
  });
  const why: string[] = [];
  const relay = relayTo(server.url, { onAway: (reason) => why.push(reason) });
  const fates = new Fates(2);
  for (const name of ["a", "b"]) relay.add(fates.parcel(name));
  relay.start();
  await fates.all;
  await relay.close();
  assertEquals(fates.told, ["b confirmed", "a confirmed"]);
  assertEquals(why.length, 1);
  assertMatch(why[0]!, /refused the task/);
});
