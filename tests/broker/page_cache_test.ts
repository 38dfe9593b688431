/** What the kernel saw: a commit goes to the log in one go, if memory has room for its pages. */
import { assertEquals, assertGreater } from "@std/assert";
import { openPeer } from "../support/protocol_peer.ts";
import { run, spawn } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { unless } from "../support/unless.ts";
import { brokerCommand, portOf } from "./harness.ts";

const straceMissing = await run("strace", { args: ["-V"] })
  .then(({ code }) => code === 0 ? undefined : "strace does not work here")
  .catch(() => "needs strace");

/** Together more than the pages that memory keeps. */
const MESSAGES = 1_000;
const BODY = new Uint8Array(10_000);
/** What the log has of a page, with its head. */
const FRAME_BYTES = 4_096 + 24;

Deno.test({
  ...unless(straceMissing, "a large commit does not read again what it has written"),
  async fn() {
    await using dir = await tempDir();
    await using broker = spawn("strace", {
      args: [
        ...["-f", "-y", "-s", "0", "-e", "trace=pread64,pwrite64", "-o", dir.file("trace")],
        ...brokerCommand(["--port", "0", "--data", dir.file("data")]),
      ],
    });
    await using peer = await openPeer(await portOf(broker));
    const channel = await peer.open();
    await channel.call("queue.declare", { queue: "tasks", durable: true });
    await channel.call("tx.select");
    for (let i = 0; i < MESSAGES; i++) {
      await channel.publish({ routingKey: "tasks" }, BODY, { deliveryMode: 2 });
    }
    await channel.call("tx.commit");
    await peer.close();
    // strace itself takes no signals; its first line begins with the broker's process id.
    Deno.kill(parseInt(await Deno.readTextFile(dir.file("trace"))), "SIGTERM");
    assertEquals((await broker.ended()).code, 0);

    const calls = (await Deno.readTextFile(dir.file("trace"))).split("\n")
      .filter((line) => line.includes("/broker.db-wal>"));
    const written = calls.filter((line) => line.includes("pwrite64("));
    assertGreater(written.length, 2 * MESSAGES);
    const again = calls.filter((line) =>
      line.includes(`pread64(`) && line.includes(`, ${FRAME_BYTES}, `)
    );
    assertEquals(again.length, 0);
  },
});
