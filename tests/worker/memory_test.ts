/** A worker on a host with 128 MB that takes many large tasks at the same time. */
import { assertEquals } from "@std/assert";
import { startBroker } from "../support/embedded.ts";
import { openPeer } from "../support/protocol_peer.ts";
import { spawn } from "../support/process.ts";
import { hostTest, smallHost } from "../support/small_host.ts";
import { waitUntil } from "../support/wait.ts";

const HOST_BYTES = 128 * 1024 * 1024;
const LARGE_BYTES = 10_000_000;
const LARGE = 12;
const TOO_LARGE_BYTES = 60_000_000;
const END_MS = 300_000;

hostTest(
  "a worker takes large tasks as far as there is memory; what does not fit is dead, as it came",
  async () => {
    await using broker = await startBroker();
    await using peer = await openPeer(broker.port);
    const channel = await peer.open();
    await channel.call("queue.declare", { queue: "large", durable: true });
    await channel.call("confirm.select");
    const publish = async (bytes: number) => {
      await channel.publish({ routingKey: "large" }, new Uint8Array(bytes), { messageId: "x" });
      await channel.expect("basic.ack");
    };
    for (let n = 0; n < LARGE; n++) await publish(LARGE_BYTES);
    await using host = smallHost(HOST_BYTES)!;
    const url = `amqp://127.0.0.1:${broker.port}/`;
    const options = [
      "--queue",
      "large",
      "--url",
      url,
      "--concurrency",
      "20",
      "--max-attempts",
      "1",
    ];
    // What a command has not read stays in the worker.
    const [command, ...args] = host.command("worker", [...options, "--shell", "sleep 0.2; wc -c"]);
    await using worker = spawn(command, { args, killOnDispose: true });
    const count = () => worker.stderr.filter((line) => line.endsWith(` ${LARGE_BYTES}`)).length;
    await waitUntil("all are done", () => count() === LARGE || host.killed() > 0, END_MS);
    assertEquals(host.killed(), 0);

    await publish(TOO_LARGE_BYTES);
    await worker.waitForLog(/a task of 60000000 bytes is too large for the memory of this host/);
    // Others pass it.
    await publish(LARGE_BYTES);
    await waitUntil("the next is done", () => count() === LARGE + 1, END_MS);
    await worker.waitForLog(/goes to the dead queue: rejected \(a task of 60000000 bytes is too/);
    worker.kill();
    assertEquals((await worker.ended()).code, 0);
    const { messageCount } = await channel.call("queue.declare", { queue: "large", passive: true });
    assertEquals([host.killed(), messageCount], [0, 0]);
    await channel.send("basic.get", { queue: "large.dead" });
    const { body } = await channel.expectContent("basic.get-ok");
    assertEquals(body.length, TOO_LARGE_BYTES);
    await peer.close();
  },
);
