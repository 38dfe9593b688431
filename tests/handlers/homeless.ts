/** Removes the directory that it runs in, then runs a command; for command_test.ts. */
// deno-lint-ignore-file no-console
import { CommandHandler } from "../../src/handlers/command.ts";

using handler = new CommandHandler({
  argv: ["true"],
  env: { PATH: "/usr/bin:/bin" },
  output: { kind: "inherit" },
  warn: console.error,
});
Deno.removeSync(Deno.cwd());
const task = {
  id: "t-1",
  body: new Uint8Array(),
  properties: {},
  queue: "q",
  exchange: "",
  routingKey: "q",
  redelivered: false,
};
const { signal } = new AbortController();
const outcome = await handler.handle(task, { signal, attempt: 1, maxAttempts: 5 });
if (outcome.kind === "unable") console.log(`unable ${outcome.exitCode} ${outcome.reason}`);
else console.log(outcome.kind);
