import { assert, assertEquals, assertLessOrEqual, assertMatch } from "@std/assert";
import {
  LineWriter,
  OutputRouter,
  parseOutputMode,
  SharedWriter,
  Tail,
} from "../../src/handlers/output.ts";
import { randomNumbers } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";
import { mountDisk, mountMissing } from "../support/tmpfs.ts";

function behind(prefix: string): (line: Uint8Array) => Uint8Array {
  return (line) => new TextEncoder().encode(`${prefix}${new TextDecoder().decode(line)}\n`);
}

/** Cuts bytes into chunks of random sizes. */
function* chunksOf(bytes: Uint8Array, random: () => number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length;) {
    const size = 1 + Math.floor(random() ** 4 * 6_000);
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

/** Takes a few bytes at a time, as a slow terminal does, and keeps them. */
class SlowTarget {
  text = "";

  async write(bytes: Uint8Array): Promise<number> {
    await Promise.resolve();
    const taken = bytes.subarray(0, 7);
    this.text += new TextDecoder("latin1").decode(taken);
    return taken.length;
  }
}

/** A pipe that somebody has made non-blocking: full every other time. */
class FullTarget extends SlowTarget {
  #writes = 0;

  override write(bytes: Uint8Array): Promise<number> {
    return this.#writes++ % 2 === 0
      ? Promise.reject(new Deno.errors.WouldBlock("full"))
      : super.write(bytes);
  }
}

Deno.test("a pipe that is full for the moment loses nothing of the output", async () => {
  const target = new FullTarget();
  const writer = new SharedWriter(target);
  await writer.write(new TextEncoder().encode("a line that needs several writes\n"));
  await writer.write(new TextEncoder().encode("and the next\n"));
  assertEquals(target.text, "a line that needs several writes\nand the next\n");
});

Deno.test("a tail is the end of a stream, however the stream was cut", () => {
  const random = randomNumbers(7);
  for (let round = 0; round < 200; round++) {
    const text = Array.from(
      { length: Math.floor(random() * 9_000) },
      () => String.fromCharCode(97 + Math.floor(random() * 26)),
    ).join("");
    const tail = new Tail();
    for (const chunk of chunksOf(new TextEncoder().encode(text), random)) tail.push(chunk);
    assertEquals(tail.text(), text.slice(-4_096));
  }
});

Deno.test("a tail is at most 4 KiB of UTF-8 that begins with a whole character", () => {
  const random = randomNumbers(9);
  for (const alphabet of ["\u{1f600}", "\u20ac", "\u00e9", "a\u{1f600}\u20ac"]) {
    const bytes = new TextEncoder().encode(alphabet.repeat(3_000));
    const tail = new Tail();
    for (const chunk of chunksOf(bytes, random)) tail.push(chunk);
    assert(alphabet.repeat(3_000).endsWith(tail.text()), alphabet);
    assert(tail.text().length > 1_000);
  }
  const garbage = new Tail();
  garbage.push(new Uint8Array(5_000).fill(0xff));
  assertLessOrEqual(new TextEncoder().encode(garbage.text()).length, 4_096);
});

Deno.test("every line of a stream gets its prefix, however the stream was cut", async () => {
  const random = randomNumbers(11);
  for (let round = 0; round < 100; round++) {
    const lines = Array.from(
      { length: Math.floor(random() * 40) },
      () => "x".repeat(Math.floor(random() ** 3 * 3_000)),
    );
    const unfinished = random() < 0.5 ? "tail" : "";
    const input = lines.map((line) => `${line}\n`).join("") + unfinished;
    let output = "";
    const prefixer = new LineWriter(behind("[id] "), (bytes) => {
      output += new TextDecoder().decode(bytes);
      return Promise.resolve();
    });
    for (const chunk of chunksOf(new TextEncoder().encode(input), random)) {
      await prefixer.push(chunk);
    }
    await prefixer.end();
    const expected = [...lines, ...(unfinished === "" ? [] : [unfinished])];
    assertEquals(output, expected.map((line) => `[id] ${line}\n`).join(""));
  }
});

Deno.test("a line without an end is cut, never collected", async () => {
  const pieces: string[] = [];
  const prefixer = new LineWriter(behind("> "), (bytes) => {
    pieces.push(new TextDecoder().decode(bytes));
    return Promise.resolve();
  });
  for (let i = 0; i < 100; i++) await prefixer.push(new Uint8Array(1_000).fill(97));
  await prefixer.end();
  const lines = pieces.join("").split("\n");
  assertEquals(lines.map((line) => line.replace("> ", "")).join(""), "a".repeat(100_000));
  assertLessOrEqual(Math.max(...lines.map((line) => line.length)), 8_194);
});

Deno.test("chunks of several tasks reach stderr whole, one after the other", async () => {
  const target = new SlowTarget();
  const writer = new SharedWriter(target);
  const router = new OutputRouter({ kind: "prefix" }, writer, () => {});
  const tasks = ["a", "b", "c"].map((id) => router.open(id, 1));
  await Promise.all(tasks.map(async (task, i) => {
    assert(typeof task.stdout === "function" && typeof task.stderr === "function");
    for (let n = 0; n < 20; n++) {
      await (n % 2 === 0 ? task.stdout : task.stderr)(new TextEncoder().encode(`line ${i}\n`));
    }
    await task.close();
  }));
  const lines = target.text.split("\n").filter((line) => line !== "");
  assertEquals(lines.length, 60);
  for (const line of lines) {
    assert(["[a] line 0", "[b] line 1", "[c] line 2"].includes(line), line);
  }
});

Deno.test("an id from strangers cannot steer the terminal", async () => {
  const target = new SlowTarget();
  const router = new OutputRouter({ kind: "prefix" }, new SharedWriter(target), () => {});
  const output = router.open("\x1b]0;owned\x07\n", 1);
  assert(typeof output.stdout === "function");
  await output.stdout(new TextEncoder().encode("hello\n"));
  assertEquals(target.text, "[\\u{1b}]0;owned\\u{7}\\n] hello\n");
});

Deno.test("a closed stderr does not stop the work", async () => {
  const writer = new SharedWriter({
    write: () => Promise.reject(new Deno.errors.BrokenPipe("closed")),
  });
  await writer.write(Uint8Array.of(1));
  await writer.write(Uint8Array.of(2));
});

Deno.test("parseOutputMode() reads the four modes and nothing else", () => {
  assertEquals(parseOutputMode("prefix"), { kind: "prefix" });
  assertEquals(parseOutputMode("inherit"), { kind: "inherit" });
  assertEquals(parseOutputMode("null"), { kind: "null" });
  assertEquals(parseOutputMode("file:/var/log/w"), { kind: "file", directory: "/var/log/w" });
  for (const text of ["", "file", "file:", "stdout", "Prefix"]) {
    assertEquals(parseOutputMode(text), undefined);
  }
});

/** Writes a line for each task, and gives the names of the files that have come. */
async function namesFor(directory: string, ids: readonly string[]): Promise<string[]> {
  const faults: string[] = [];
  const router = new OutputRouter(
    { kind: "file", directory },
    new SharedWriter(new SlowTarget()),
    (fault) => faults.push(fault),
  );
  for (const id of ids) {
    const output = router.open(id, 1);
    assert(typeof output.stdout === "function");
    await output.stdout(new TextEncoder().encode("x"));
    await output.close();
  }
  assertEquals(faults, []);
  return Array.from(Deno.readDirSync(directory), ({ name }) => name).sort();
}

Deno.test("output files have different names for different ids, all in the directory", async () => {
  await using dir = await tempDir("output-");
  const odd = [
    "../x",
    "..",
    ".",
    "a/b",
    "a%2Fb",
    "\0",
    "...",
    "a\0",
    "\u00e9",
    "e\u0301",
    "\ud83d\ude00",
  ];
  // The ends of long ones differ; encoded, one is 765 bytes long.
  const long = ["x".repeat(254), "\u20ac".repeat(85), "%".repeat(100)].flatMap((start) =>
    ["1", "2"].map((end) => start.slice(0, 254) + end)
  );
  const names = await namesFor(dir.path, [...odd, ...long]);
  assertEquals(names.length, odd.length + long.length);
  for (const name of names) {
    assertLessOrEqual(name.length, 255);
    assertEquals(Deno.readTextFileSync(dir.file(name)), "x");
  }
  // The same again: the same files.
  assertEquals(await namesFor(dir.path, [...odd, ...long]), names);
});

Deno.test("a directory for output that vanishes is told once a file, and ends no work", async () => {
  await using dir = await tempDir("output-");
  const faults: string[] = [];
  const router = new OutputRouter(
    { kind: "file", directory: dir.path },
    new SharedWriter(new SlowTarget()),
    (fault) => faults.push(fault),
  );
  const output = router.open("t", 1);
  await Deno.remove(dir.path);
  assert(typeof output.stdout === "function" && typeof output.stderr === "function");
  for (let line = 0; line < 3; line++) {
    await output.stdout(new TextEncoder().encode("out\n"));
    await output.stderr(new TextEncoder().encode("err\n"));
  }
  await output.close();
  assertEquals(faults.length, 2);
  assert(faults[0]!.includes(`${dir.path}/t.1.stdout`), faults[0]);
  assertEquals(output.tail(), "err\n".repeat(3));
});

(mountMissing ? Deno.test.ignore : Deno.test)(
  `a disk for output that fills up is told, and ends no work${
    mountMissing ? ` (ignored: ${mountMissing})` : ""
  }`,
  async () => {
    await using disk = await mountDisk(1);
    const faults: string[] = [];
    const router = new OutputRouter(
      { kind: "file", directory: disk.path },
      new SharedWriter(new SlowTarget()),
      (fault) => faults.push(fault),
    );
    const output = router.open("t", 1);
    assert(typeof output.stdout === "function");
    for (let part = 0; part < 40; part++) await output.stdout(new Uint8Array(65_536));
    await output.close();
    assertEquals(faults.length, 1);
    assertMatch(faults[0]!, /t\.1\.stdout" cannot be written: No space left/);
  },
);
