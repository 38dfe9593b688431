import { assertEquals, assertRejects } from "@std/assert";
import { readInput } from "../../src/cli/input.ts";
import { readLines } from "../../src/cli/lines.ts";
import { InputError } from "../../src/errors.ts";
import { Random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";

async function linesOf(path: string, limit: number): Promise<string[]> {
  const lines: string[] = [];
  for await (const { number, bytes } of readLines(path, { limit })) {
    lines.push(new TextDecoder().decode(bytes));
    assertEquals(number, lines.length);
  }
  return lines;
}

Deno.test("the lines of any file are what stands between its newlines", async () => {
  await using dir = await tempDir("lines-");
  const path = `${dir.path}/lines`;
  const random = new Random(9);
  for (let i = 0; i < 60; i++) {
    const lines = Array.from(
      { length: random.below(40) },
      () => "x".repeat(random.pick([0, 1, 100, 65_535, 65_536, 65_537, 200_000])),
    );
    const text = lines.join("\n") + random.pick(["", "\n"]);
    await Deno.writeTextFile(path, text);
    const expected = text.split("\n");
    if (expected.at(-1) === "") expected.pop();
    assertEquals(await linesOf(path, 200_000), expected);
  }
});

Deno.test("a line or a file longer than the limit is refused, one as long is not", async () => {
  await using dir = await tempDir("lines-");
  const path = `${dir.path}/lines`;
  for (const limit of [10, 100_000]) {
    await Deno.writeTextFile(path, `a\n${"x".repeat(limit)}\nb`);
    assertEquals((await linesOf(path, limit)).length, 3);
    await Deno.writeTextFile(path, `a\n${"x".repeat(limit + 1)}\nb`);
    await assertRejects(() => linesOf(path, limit), InputError, "and line 2 has more");
    await Deno.writeTextFile(path, "x".repeat(limit));
    assertEquals((await readInput(path, limit)).length, limit);
    await Deno.writeTextFile(path, "x".repeat(limit + 1));
    await assertRejects(() => readInput(path, limit), InputError, "and holds more");
  }
});

Deno.test("a carriage return at the end of a line is no part of it", async () => {
  await using dir = await tempDir("lines-");
  const path = `${dir.path}/lines`;
  await Deno.writeTextFile(path, "a\r\nb\rc\n\r\nd\r\r\n\re\r");
  assertEquals(await linesOf(path, 100), ["a", "b\rc", "", "d\r", "\re"]);
  // The buffer ends between the two.
  await Deno.writeTextFile(path, `${"x".repeat(65_535)}\r\ny\r\n`);
  assertEquals(await linesOf(path, 100_000), ["x".repeat(65_535), "y"]);
});

Deno.test("lines know where they end in the input, and the first ones can be left out", async () => {
  await using dir = await tempDir("lines-");
  const path = `${dir.path}/lines`;
  const random = new Random(10);
  for (const nul of [false, true]) {
    const words = Array.from({ length: 3_000 }, () => "x".repeat(random.below(90)) + "\r");
    const end = nul ? "\0" : "\n";
    await Deno.writeTextFile(path, words.join(end));
    for (const skip of [0, 1, 1_234, 2_999, 3_000, 9_000]) {
      const found = [];
      for await (const line of readLines(path, { limit: 100, nul, skip })) found.push(line);
      assertEquals(found.length, Math.max(0, 3_000 - skip));
      for (const { number, bytes, end: offset } of found) {
        const word = words[number - 1]!;
        assertEquals(new TextDecoder().decode(bytes), nul ? word : word.slice(0, -1));
        const expected = words.slice(0, number).join(end).length + (number === 3_000 ? 0 : 1);
        if (number % 500 === 0) assertEquals(offset, expected);
      }
    }
  }
});
