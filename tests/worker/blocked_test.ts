/** Tasks that were delivered before, while their starts cannot be written down. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { portOf, startProcess } from "../broker/harness.ts";
import { spawn } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { toolCommand } from "../support/tools.ts";
import { QueueBench } from "./bench.ts";

Deno.test("while a broker blocks publishers nobody is buried for what cannot be counted", async () => {
  await using dir = await tempDir("blocked-");
  const data = ["--data", dir.file("data")];
  let queue: string;
  {
    await using broker = startProcess(data);
    const bench = await QueueBench.open(`amqp://127.0.0.1:${await portOf(broker)}/`);
    queue = bench.name;
    // The first one finds the connection open, the second one blocked.
    for (const messageId of ["t", "u"]) await bench.send("x", { messageId });
    for (let look = 0; look < 4; look++) {
      const channel = await bench.transport.openChannel();
      for (let i = 0; i < 2; i++) await channel.basicGet(queue, { noAck: false });
      await channel.close();
    }
    await bench.transport.shutdown();
    broker.kill("SIGTERM");
    assertEquals((await broker.ended()).code, 0);
  }
  await using full = startProcess([...data, "--disk-free-limit", `${Number.MAX_SAFE_INTEGER}`]);
  const [command, ...args] = toolCommand("worker", [
    ...["--queue", queue, "--url", `amqp://127.0.0.1:${await portOf(full)}/`],
    ...["--max-tasks", "2", "--", "true"],
  ]);
  await using worker = spawn(command, { args });
  const { code, stderr } = await worker.ended();
  assertEquals(code, 0, stderr);
  for (const id of ["t", "u"]) assertStringIncludes(stderr, `done id=${id}`);
  full.kill("SIGTERM");
  assertEquals((await full.ended()).code, 0);
});
