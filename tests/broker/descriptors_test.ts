/** File descriptors that are short when a broker starts. */
import { assertEquals } from "@std/assert";
import { run } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { unless } from "../support/unless.ts";

const SERVER = import.meta.resolve("../../src/broker/server.ts");

/** Starts a broker again and again, each time with one more, until it has enough. */
const program = (folder: string) => `
  const { Broker } = await import(${JSON.stringify(SERVER)});
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const start = (folder) =>
    Broker.start({ hosts: ["127.0.0.1"], port: 0, version: "0.0.0", log, folder });
  await (await start(${JSON.stringify(`${folder}/before`)})).stop();
  const others = [];
  try {
    for (;;) others.push(Deno.openSync("/"));
  } catch {
    // None is left.
  }
  const statuses = [];
  let tries = 0;
  for (;;) {
    try {
      const broker = await start(\`${folder}/\${tries++ % 2 ? "before" : tries}\`);
      await broker.stop();
      break;
    } catch (error) {
      statuses.push(error.exitCode ?? String(error.stack));
      if (error.exitCode !== 75) console.error(error.message);
    }
    if (tries % 2 === 0) others.pop().close();
  }
  console.log(JSON.stringify(statuses));`;

Deno.test({
  ...unless(
    Deno.build.os === "linux" ? undefined : "needs Linux",
    "a broker that finds too few file descriptors at its start ends with 75, on new data and on old",
  ),
  async fn() {
    await using dir = await tempDir();
    const args = ["-c", 'ulimit -n 100 && exec "$0" eval "$1"', Deno.execPath(), program(dir.path)];
    const { code, stdout, stderr } = await run("bash", { args });
    assertEquals(code, 0, stderr);
    const statuses: unknown[] = JSON.parse(stdout);
    assertEquals(statuses.filter((status) => status !== 75), [], stderr);
    assertEquals(statuses.length > 10, true, stdout);
  },
});
