import { assert, assertEquals, assertLess } from "@std/assert";
import { Output } from "../../src/cli/output.ts";
import { pause } from "../../src/time/timer.ts";
import { run } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";

/** A pipe that nobody reads yet. */
async function openPipe(dir: string): Promise<Deno.FsFile> {
  const path = `${dir}/pipe`;
  assertEquals((await run("mkfifo", { args: [path] })).code, 0);
  // For reading and writing: opening for one alone waits for the other side.
  return await Deno.open(path, { read: true, write: true });
}

Deno.test({
  name: "texts arrive in order, and a writer is asked to pause until they are read",
  ignore: Deno.build.os === "windows", // no named pipes in folders
  fn: async () => {
    await using dir = await tempDir("output-");
    using pipe = await openPipe(dir.path);
    using reader = await Deno.open(`${dir.path}/pipe`);
    const output = new Output(pipe, (error) => {
      throw error;
    });
    const texts = Array.from({ length: 20_000 }, (_, i) => `${i} \u00fc\n`);
    let paused = 0;
    const writing = (async () => {
      for (const text of texts) {
        const pause = output.write(text);
        if (pause !== undefined) paused++;
        await pause;
      }
      await output.flushed();
    })();
    const expected = new TextEncoder().encode(texts.join(""));
    const got = new Uint8Array(expected.length);
    for (let at = 0; at < got.length;) at += (await reader.read(got.subarray(at)))!;
    await writing;
    assertEquals(new TextDecoder().decode(got), texts.join(""));
    assert(paused > 0);
  },
});

Deno.test("what cannot be written is reported once, and nobody waits for it", async () => {
  const errors: string[] = [];
  using full = await Deno.open("/dev/full", { write: true });
  const output = new Output(full, (error) => errors.push(error.name));
  for (let i = 0; i < 5; i++) await output.write("x".repeat(100_000));
  await output.flushed();
  await output.flushed(1);
  assertEquals(errors.length, 1);
  assertEquals(output.stalled, false);
});

Deno.test("lines in a row leave together, and at once when somebody waits for them", async () => {
  const writes: string[] = [];
  const target = {
    write: (bytes: Uint8Array) => {
      writes.push(new TextDecoder().decode(bytes));
      return Promise.resolve(bytes.length);
    },
  };
  const output = new Output(target, (error) => {
    throw error;
  });
  const lines = Array.from({ length: 100 }, (_, i) => `${i}\n`);
  for (const line of lines) {
    output.write(line);
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  }
  await output.flushed();
  assertEquals(writes[0], "0\n");
  assertEquals(writes.join(""), lines.join(""));
  assertLess(writes.length, 20);
});

Deno.test("a process that gets no turn of a busy machine waits longer for what it writes", async () => {
  const target = {
    write: async (bytes: Uint8Array) => {
      await pause(1);
      return bytes.length;
    },
  };
  const output = new Output(target, () => {});
  output.write("last words\n");
  const flushed = output.flushed(100);
  const end = performance.now() + 300;
  while (performance.now() < end); // no turn
  await flushed;
  assertEquals(output.failed, false);
});
