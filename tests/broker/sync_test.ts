/** What the kernel saw: nothing is told to a client before it is synced to disk. */
import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import { run, spawn } from "../support/process.ts";
import { openPeer } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { brokerCommand, portOf } from "./harness.ts";

const straceMissing = await run("strace", { args: ["-V"] })
  .then(({ code }) => code === 0 ? undefined : "strace does not work here")
  .catch(() => "needs strace");

/** A method frame as strace prints its beginning: type, channel, length, class, method. */
const ACK = String.raw`\1\0\1\0\0\0\r\0<\0P`;
const COMMIT_OK = String.raw`\1\0\1\0\0\0\4\0Z\0\25`;

Deno.test({
  name: "a confirm and a commit-ok come after the sync" +
    (straceMissing ? ` (ignored: ${straceMissing})` : ""),
  ignore: straceMissing !== undefined,
  async fn() {
    await using dir = await tempDir();
    const calls = "trace=openat,pwrite64,fsync,fdatasync,sendto,write,writev,sendmsg";
    await using broker = spawn("strace", {
      args: [
        ...["-f", "-s", "5000", "-e", calls, "-o", dir.file("trace")],
        ...brokerCommand(["--port", "0", "--data", dir.file("data")]),
      ],
    });
    await using peer = await openPeer(await portOf(broker));
    const channel = await peer.open();
    await channel.call("queue.declare", { queue: "tasks", durable: true });
    await channel.call("confirm.select");
    await channel.publish({ routingKey: "tasks" }, "needle one", { deliveryMode: 2 });
    await channel.expect("basic.ack");
    await channel.call("channel.close");
    const other = await peer.open();
    await other.call("tx.select");
    await other.publish({ routingKey: "tasks" }, "needle two", { deliveryMode: 2 });
    await other.call("tx.commit");
    await peer.close();
    // strace itself takes no signals; its first line begins with the broker's process id.
    Deno.kill(parseInt(await Deno.readTextFile(dir.file("trace"))), "SIGTERM");
    assertEquals((await broker.ended()).code, 0);

    const trace = (await Deno.readTextFile(dir.file("trace"))).split("\n");
    const parent = trace.findIndex((line) => line.includes(`openat(AT_FDCWD, "${dir.path}"`));
    assertGreater(parent, 0, "the folder above the data was never opened");
    assertMatch(trace[parent + 1]!, /fsync\(\d+\) += 0/, "the entry of the new folder is synced");

    for (const [needle, answer] of [["needle one", ACK], ["needle two", COMMIT_OK]] as const) {
      const write = trace.findIndex((line) => line.includes("pwrite64") && line.includes(needle));
      assertGreater(write, 0, `${needle} was never written`);
      const file = trace[write]!.match(/pwrite64\((\d+),/)![1];
      const sync = trace.findIndex((line, i) =>
        i > write && new RegExp(`f(data)?sync\\(${file}`).test(line)
      );
      const told = trace.findIndex((line) => line.includes(answer));
      assert(write < sync && sync < told, `written ${write}, synced ${sync}, told ${told}`);
    }
  },
});
