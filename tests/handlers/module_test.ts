import { assertEquals, assertRejects } from "@std/assert";
import { InputError } from "../../src/errors.ts";
import { functionHandler, loadHandler, RetryTask } from "../../src/handlers/module.ts";
import { spawnDeno } from "../support/process.ts";
import { taskWith } from "../support/task.ts";
import { tempDir } from "../support/temp.ts";

const TASK = taskWith();

Deno.test("a module that cannot be used is told in one sentence", async () => {
  await using dir = await tempDir("module-");
  const rows: [string, RegExp][] = [
    ["export default () => {", /must be a module that loads, and does not: Unexpected/],
    ["throw new Error('top')", /must be a module that loads, and does not: top$/],
    ["export const work = 1", /must export a function as its default, and exports none$/],
    ["export default 5", /and exports number$/],
  ];
  for (const [index, [text, sentence]] of rows.entries()) {
    const file = dir.file(`${index}.js`);
    await Deno.writeTextFile(file, text);
    const error = await assertRejects(() => loadHandler(file), InputError);
    assertEquals([sentence.test(error.message), error.exitCode], [true, 65], error.message);
  }
  await Deno.writeTextFile(dir.file("work.py"), "def work(task):\n  return 1\n");
  const other = await assertRejects(() => loadHandler(dir.file("work.py")), InputError);
  assertEquals(other.message.endsWith(" (for another language: worker -- COMMAND)"), true);
});

Deno.test("a module that waits for ever, or for another file, is told without colours", async () => {
  await using dir = await tempDir("module-");
  const rows: [string, number, RegExp][] = [
    [
      "await new Promise(() => {}); export default () => {}",
      100,
      /within 100 ms, and is still at it$/,
    ],
    [
      "import './missing.js'; export default () => {}",
      60_000,
      /Module not found "[^"]*"\.\n +at file:/,
    ],
  ];
  const loader = new URL("../../src/handlers/module.ts", import.meta.url);
  for (const [index, [text, limitMs, sentence]] of rows.entries()) {
    const file = dir.file(`${index}.js`);
    const script = dir.file(`load${index}.ts`);
    await Deno.writeTextFile(file, text);
    // In a process of its own: what never loads ends every process that has nothing else to do.
    await Deno.writeTextFile(
      script,
      `import { loadHandler } from ${JSON.stringify(loader.href)};
      const error = await loadHandler(${JSON.stringify(file)}, ${limitMs}).catch((error) => error);
      console.log(error.message);
      Deno.exit(error.exitCode);`,
    );
    await using process = spawnDeno(script, { env: { NO_COLOR: undefined } });
    const { code, stdout } = await process.ended();
    assertEquals([code, sentence.test(stdout.trimEnd())], [65, true], stdout);
  }
});

Deno.test("whatever a function does to what it was given, the task stays as it came", async () => {
  const task = {
    ...TASK,
    body: Uint8Array.of(1, 2, 3),
    properties: { messageId: "t", headers: { a: [1], b: Uint8Array.of(4), c: new Date(0) } },
  };
  const before = structuredClone(task);
  const handler = functionHandler(({ bytes, body, properties }) => {
    assertEquals([bytes === body, properties], [true, before.properties]);
    bytes.reverse();
    structuredClone(bytes, { transfer: [bytes.buffer as ArrayBuffer] });
    (properties.headers!.a as number[]).push(2);
    (properties.headers!.b as Uint8Array)[0] = 5;
    (properties as Record<string, unknown>).messageId = "another";
    throw new Error("fails");
  }, { log() {} });
  const context = { signal: new AbortController().signal, attempt: 1 };
  assertEquals((await handler(task, context) as { reason: string }).reason, "fails");
  assertEquals(task, before);
});

Deno.test("RetryTask may ask for any pause that is one, up to a hundred years", async () => {
  const thirtyDays = 30 * 86_400_000;
  const rows: [unknown, number | undefined][] = [
    [undefined, undefined],
    [0, 0],
    [1.5, 2],
    [thirtyDays, thirtyDays],
    [1e300, undefined],
    [-1, undefined],
    [NaN, undefined],
    [Infinity, undefined],
    ["5000", undefined],
  ];
  for (const [delayMs, expected] of rows) {
    const handler = functionHandler(() => {
      throw new RetryTask("later", { delayMs: delayMs as number });
    }, { log: () => {} });
    const context = { signal: new AbortController().signal, attempt: 1 };
    const outcome = await handler(TASK, context);
    assertEquals("delayMs" in outcome ? outcome.delayMs : undefined, expected, String(delayMs));
  }
});
