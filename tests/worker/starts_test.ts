import { assertEquals } from "@std/assert";
import { createLogger } from "../../src/observe/log.ts";
import { Starts } from "../../src/worker/starts.ts";
import { taskWith } from "../support/task.ts";

Deno.test("starts are asked for in the order of their tasks, whichever name is made first", async () => {
  const asked: string[] = [];
  const nothing = () => Promise.resolve();
  const count = ({ name }: { name: string }) => Promise.resolve(asked.push(name));
  const log = createLogger({ name: "test", write: () => {} });
  const starts = new Starts({ count, note: nothing, takeBack: nothing, remove: nothing }, log);
  // The digest of a long one takes longer.
  const tasks = ["a".repeat(5_000_000), "b"].map((id) => taskWith({ id }));
  for (const task of tasks) await starts.count(task);
  await Promise.all(tasks.map((task) => starts.count(task)));
  assertEquals(asked.slice(2), asked.slice(0, 2));
});
