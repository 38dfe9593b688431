/** Writes an id into each of the dedupe files that it is given, and reads it; for dedupe_test.ts. */
// deno-lint-ignore-file no-console
import { createLogger } from "../../src/observe/log.ts";
import { openDedupe } from "../../src/worker/dedupe.ts";
import { taskWith } from "../support/task.ts";

const log = createLogger({ name: "test", write: () => {} });
const task = taskWith();
for (const name of Deno.args) {
  const first = await openDedupe(name, 86_400_000, log);
  first.add(task);
  first.close();
  const second = await openDedupe(name, 86_400_000, log);
  console.log(name, second.has(task));
  second.close();
}
