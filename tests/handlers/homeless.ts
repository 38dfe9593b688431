/** Removes the directory that it runs in, then runs a command; for command_test.ts. */
// deno-lint-ignore-file no-console
import { CommandHandler } from "../../src/handlers/command.ts";
import { taskWith } from "../support/task.ts";

using handler = new CommandHandler({
  argv: ["true"],
  env: { PATH: "/usr/bin:/bin" },
  output: { kind: "inherit" },
  warn: console.error,
});
Deno.removeSync(Deno.cwd());
const { signal } = new AbortController();
const outcome = await handler.handle(taskWith(), { signal, attempt: 1, maxAttempts: 5 });
if (outcome.kind === "unable") console.log(`unable ${outcome.exitCode} ${outcome.reason}`);
else console.log(outcome.kind);
