/** A queue has the same name for all tools. */
import { assertEquals } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { uniqueName } from "../support/temp.ts";
import { takeOne } from "./queue_view.ts";
import { finish, send } from "./tools.ts";

const node = await sharedNode();

brokerTest("a name with , = and a backslash is written alike for every tool", async () => {
  const name = `${uniqueName("names")},a=1\\`;
  const target = { url: node.url, queue: name.replace(/[\\,=]/g, "\\$&") };
  await send(["one"], target);
  const queues = await finish("worker", ["queues"], target);
  assertEquals([queues.code, queues.stdout.includes(name)], [0, true], queues.stdout);
  const other = uniqueName("names");
  const worked = await finish("worker", [
    ...["--queue", `${target.queue}=2,${other}`, "--concurrency", "3", "--max-attempts", "1"],
    ...["--max-tasks", "1", "--", "false"],
  ], { url: node.url });
  assertEquals(worked.code, 0, worked.stderr);
  const listed = await finish("worker", ["dead", "ls"], target);
  assertEquals(listed.stdout.includes("died"), true, listed.stdout);
  const buried = await takeOne(node.url, `${name}.dead`);
  assertEquals(buried.bodyString(), "one");
});
