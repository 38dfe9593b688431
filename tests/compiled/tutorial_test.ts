/**
 * The compiled binaries by themselves: an empty environment, no deno and no node to be found, and
 * a temporary folder that must stay empty. `deno task compile` makes them.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import config from "../../deno.json" with { type: "json" };
import { brokerTest, sharedNode } from "../support/broker.ts";
import type { TestProcess } from "../support/process.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { binary } from "./binary.ts";

const node = await sharedNode();

const TEXTS = [
  "First message.",
  "Second message..",
  "Third message...",
  "Fourth message....",
  "Fifth message.....",
];
const RECEIVED = " [x] Received ";
const DONE = " [x] Done";

brokerTest("compiled new_task and two compiled workers do the tutorial", async () => {
  await using temp = await tempDir();
  const target = [`AMQP_URL=${node.url}`, `WORK_QUEUE=${uniqueName("compiled")}`];
  await using first = binary("worker", temp.path, target, []);
  await using second = binary("worker", temp.path, target, []);
  const workers = [first, second];
  for (const worker of workers) await worker.waitForLine(/Waiting for messages/);

  for (const text of TEXTS) {
    await using sender = binary("new_task", temp.path, target, text.split(" "));
    const { stdout, stderr, code } = await sender.ended();
    assertEquals({ stdout, stderr, code }, { stdout: ` [x] Sent ${text}\n`, stderr: "", code: 0 });
  }
  await waitUntil("five tasks to be done", () => {
    return workers.flatMap(({ stdout }) => stdout).filter((line) => line === DONE).length === 5;
  });

  assertEquals(workers.flatMap(textsOf).sort(), TEXTS.toSorted());
  for (const worker of workers) assert(textsOf(worker).length > 0, "one worker took everything");
  for (const worker of workers) {
    worker.kill("SIGTERM");
    assertEquals((await worker.ended()).code, 0);
  }
  assertEquals(Array.from(Deno.readDirSync(temp.path), (entry) => entry.name), []);
});

for (const name of ["new_task", "worker", "broker"]) {
  Deno.test(`compiled ${name} tells its version and explains a wrong option`, async () => {
    await using temp = await tempDir();
    await using version = binary(name, temp.path, [], ["--version"]);
    const told = await version.ended();
    assertEquals(told.code, 0);
    const line =
      `^${name} ${config.version} \\(commit [0-9a-f]{12}( with changes)?, Deno [0-9.]+, `;
    assertMatch(told.stdout, new RegExp(line + `${Deno.build.target}\\)\n$`));

    await using wrong = binary(name, temp.path, [], ["--no-such-option"]);
    const refused = await wrong.ended();
    assertEquals(refused.code, 64);
    assertStringIncludes(refused.stderr, "--no-such-option");
  });
}

function textsOf(worker: TestProcess): string[] {
  return worker.stdout.filter((line) => line.startsWith(RECEIVED))
    .map((line) => line.slice(RECEIVED.length));
}
