import { assertEquals } from "@std/assert";
import { isAlive, processes } from "./descendants.ts";
import { spawn } from "./process.ts";
import { tempDir } from "./temp.ts";
import { waitUntil } from "./wait.ts";

const HOLDER = `
import { LeashedProcess } from "${new URL("./leash.ts", import.meta.url)}";
new LeashedProcess("sleeper", ["sleep", "600"], { env: {}, log: Deno.args[0] });
setInterval(() => {}, 1000);
`;

Deno.test({
  name: "a leashed process ends although the whole group of its owner was killed",
  ignore: Deno.build.os !== "linux", // reads /proc
  fn: async () => {
    await using dir = await tempDir("leash-");
    const holder = `${dir.path}/holder.ts`;
    await Deno.writeTextFile(holder, HOLDER);
    await using owner = spawn("setsid", {
      args: [Deno.execPath(), "run", "--quiet", "-A", "--no-config", holder, `${dir.path}/log`],
      killOnDispose: true,
    });
    const sleeper = await waitUntil("the sleeper to start", () => childNamed("sleep", owner.pid));
    const kill = new Deno.Command("kill", { args: ["-KILL", "--", `-${owner.pid}`] });
    assertEquals((await kill.output()).code, 0);
    await owner.ended();
    await waitUntil("the sleeper to end", () => !isAlive(sleeper));
  },
});

/** Process id of a descendant with this name. */
function childNamed(name: string, ancestor: number): number | undefined {
  for (const { pid, parent, command } of processes()) {
    if (parent !== ancestor) continue;
    const found = command === name ? pid : childNamed(name, pid);
    if (found !== undefined) return found;
  }
  return undefined;
}
