/** Runs as many commands as it is told, and tells what is left of them; for command_test.ts. */
// deno-lint-ignore-file no-console
import { CommandHandler } from "../../src/handlers/command.ts";
import { processes } from "../support/descendants.ts";
import { taskWith } from "../support/task.ts";

const openFiles = () => [...Deno.readDirSync("/proc/self/fd")].length;

const handler = new CommandHandler({
  argv: ["true"],
  env: { PATH: "/usr/bin:/bin" },
  output: { kind: "null" },
  warn: console.error,
});
const { signal } = new AbortController();
const kinds = new Set<string>();
let left = Number(Deno.args[0]);

async function lane(): Promise<void> {
  while (left-- > 0) {
    const task = taskWith({ body: Uint8Array.of(1) });
    kinds.add((await handler.handle(task, { signal, attempt: 1, maxAttempts: 5 })).kind);
  }
}

const before = openFiles();
await Promise.all([lane(), lane()]);
const zombies = [...processes()].filter(({ state, parent }) =>
  state === "Z" && parent === Deno.pid
);
console.log(
  JSON.stringify({ kinds: [...kinds], zombies: zombies.length, files: openFiles() - before }),
);
handler[Symbol.dispose]();
