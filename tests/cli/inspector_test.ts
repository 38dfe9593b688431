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
    const tools = [
      ["broker", ["--port", "0", "--data", dir.file("data")]],
      ["worker", []],
      ["new_task", ["--timeout", "1m", "--lines"]],
    ] as const;
    await Promise.all(tools.map(async ([name, args]) => {
      using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const nowhere = `amqp://127.0.0.1:${silent.addr.port}?connection_timeout=60000`;
      await using tool = spawn(Deno.execPath(), {
        args: ["run", ...permissionsOf(name), `${sources}${name}.ts`, ...args],
        env: { AMQP_URL: nowhere },
        stdin: "open",
        killOnDispose: true,
      });
      // Each is at work, and listens, before Deno does.
      if (name === "broker") await tool.waitForLog(/ready: /);
      using _connection = name === "broker" ? undefined : await silent.accept();
      const since = performance.now();
      // Deno's own listener, which opens the debugger, comes half a second after the start.
      await waitUntil("Deno to listen for the signal", () => performance.now() - since > 1_000);
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
