/** The next message of very many queues, where memory is full: it waits without its bytes. */
import { assert, assertEquals } from "@std/assert";
import { openPeer } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { startHere } from "./harness.ts";

const COUNT = 30;
const SIZE = 10_000;

/** Room for the bytes of some of them. */
const LIMITS = { memoryBytes: 5 * SIZE };

type Broker = Awaited<ReturnType<typeof startHere>>;

function firsts({ inside }: Broker) {
  return [...inside.vhosts.get("/")!.queues].flatMap((queue) => queue.messages.after(undefined, 1));
}

/** How many of the first messages have their bytes in memory. */
function thick(broker: Broker): number {
  return firsts(broker).filter(({ content }) => content !== null).length;
}

function bodyOf(n: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(SIZE).fill(n);
}

for (const [what, deliveryMode] of [["transient", 1], ["persistent", 2]] as const) {
  Deno.test(`${what} messages of very many queues take no memory when it is full, and come whole`, async () => {
    await using dir = await tempDir();
    const options = { folder: dir.path, limits: LIMITS };
    let broker = await startHere(options);
    try {
      {
        await using peer = await openPeer(broker.port);
        const channel = await peer.open();
        await channel.call("confirm.select");
        for (let n = 0; n < COUNT; n++) {
          await channel.call("queue.declare", { queue: `q${n}`, durable: true });
          await channel.publish({ routingKey: `q${n}` }, bodyOf(n), { deliveryMode });
          await channel.expect("basic.ack");
        }
        // What is written for the first time may be kept until the next commit.
        await channel.publish({ routingKey: "nowhere" }, "", {});
        await channel.expect("basic.ack");
        assert(thick(broker) <= 6, `${thick(broker)} have their bytes`);
        for (const isAgain of [false, true]) {
          for (let n = 0; n < COUNT; n++) {
            await channel.send("basic.get", { queue: `q${n}` });
            const { body, args } = await channel.expectContent("basic.get-ok");
            assertEquals([body, args.redelivered], [bodyOf(n), isAgain]);
            await channel.send("basic.nack", { deliveryTag: args.deliveryTag, requeue: true });
          }
        }
        await channel.call("queue.declare", { queue: "q0", passive: true });
      }
      if (what === "persistent") {
        await broker[Symbol.asyncDispose]();
        broker = await startHere(options);
        // As timers do, which look at what is first.
        for (const { messages } of broker.inside.vhosts.get("/")!.queues) messages.firstExpiry();
        assert(thick(broker) <= 6, `${thick(broker)} have their bytes`);
      }
      await using peer = await openPeer(broker.port);
      const channel = await peer.open();
      for (let n = 0; n < COUNT; n++) {
        await channel.send("basic.get", { queue: `q${n}`, noAck: true });
        assertEquals((await channel.expectContent("basic.get-ok")).body, bodyOf(n));
      }
      assertEquals(broker.inside.memory.bytes, 0);
    } finally {
      await broker[Symbol.asyncDispose]();
    }
  });
}
