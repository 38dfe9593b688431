import { installed, spawn } from "../../tests/support/process.ts";
import { makeProgram } from "../program.ts";
import { commandOf } from "../tasks.ts";
import { residentMemory, round, type Say, table, verdict } from "./measure.ts";

const root = new URL("../../", import.meta.url).pathname;

/** Memory that a worker holds while there is nothing to do. */
export async function benchIdle(url: string, say: Say): Promise<void> {
  const programs: [name: string, command: string[]][] = [
    ["worker", commandOf("worker", root + await makeProgram("worker"))],
    ["worker from source", commandOf("worker", `${root}src/worker.ts`)],
  ];
  if (installed(`${root}dist/worker`)) programs.push(["dist/worker", [`${root}dist/worker`]]);
  const sizes: number[] = [];
  for (const [, [command, ...args]] of programs) {
    const env = { AMQP_URL: url, WORK_QUEUE: "bench-idle" };
    await using worker = spawn(command!, { args, env, killOnDispose: true });
    await worker.waitForLine(/Waiting for messages/);
    sizes.push(await residentMemory(worker.pid));
  }
  say("Resident memory of a worker that waits, MB:\n");
  say(table([
    ["program", "MB"],
    ...programs.map(([name], i) => [name, round(sizes[i]!)]),
  ]));
  say("\n" + verdict("idle worker, MB", Math.min(...sizes), "<=", 60));
}
