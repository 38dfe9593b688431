/** No tool lets SIGUSR1 open a debugger to everybody on the machine, as `deno run` does. */
import { assertEquals } from "@std/assert";
import { permissionsOf } from "../../scripts/tasks.ts";
import { spawn } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";

const sources = new URL("../../src/", import.meta.url).pathname;

Deno.test({
  name: "SIGUSR1 ends a tool and leaves no debugger open",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using dir = await tempDir("inspector-");
    using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const nowhere = ["--url", `amqp://127.0.0.1:${silent.addr.port}?connection_timeout=60000`];
    const tools = [
      ["broker", ["--port", "0", "--data", dir.file("data")]],
      ["worker", nowhere],
      ["new_task", [...nowhere, "--timeout", "1m", "--lines"]],
    ] as const;
    await Promise.all(tools.map(async ([name, args]) => {
      await using tool = spawn(Deno.execPath(), {
        args: ["run", ...permissionsOf(name), `${sources}${name}.ts`, ...args],
        stdin: "open",
        killOnDispose: true,
      });
      const start = performance.now();
      // Deno's own listener, which opens the debugger, comes half a second after the start.
      await waitUntil("Deno to listen for the signal", () => performance.now() - start > 2_000);
      tool.kill("SIGUSR1");
      assertEquals((await tool.ended()).code, 138, name);
      await assertShut(tool.pid);
    }));
  },
});

/** That nobody can debug a process. */
async function assertShut(pid: number): Promise<void> {
  const list = await fetch("http://127.0.0.1:9229/json/list").then(
    (answer) => answer.text(),
    String,
  );
  assertEquals(list.includes(`[pid: ${pid}]`), false, list);
}
