import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  createLogger,
  escapeControls,
  type Level,
  type LoggerOptions,
} from "../../src/observe/log.ts";
import { Random } from "../support/random.ts";

/** What a terminal acts on instead of showing it, or what ends a line. */
const DANGEROUS = /[\p{Cc}\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/u;

function logged(
  options: Partial<LoggerOptions>,
  level: Level,
  ...message: Parameters<ReturnType<typeof createLogger>["info"]>
): string {
  let output = "";
  const log = createLogger({
    name: "tool",
    now: () => new Date(0),
    write: (line) => output += line,
    ...options,
  });
  log[level](...message);
  return output;
}

Deno.test("escapeControls leaves no control character, whatever it is given", () => {
  const random = new Random(4);
  for (let i = 0; i < 5000; i++) {
    const given = random.text(30);
    assert(!DANGEROUS.test(escapeControls(given)), JSON.stringify(given));
  }
  for (let code = 0; code <= 0xffff; code++) {
    const char = String.fromCharCode(code);
    const shown = escapeControls(char);
    if (DANGEROUS.test(char)) assertMatch(shown, /^\\([nrt]|u\{[0-9a-f]+\})$/);
    else assertEquals(shown, char);
  }
});

Deno.test("escapeControls leaves other text as it is, and escapes in a readable way", () => {
  const text = 'Gr\u00fc\u00dfe \u{1f407} \\n "quoted" .';
  assertEquals(escapeControls(text), text);
  assertEquals(
    escapeControls("a\nb\r\tc\x1b[31m\x9b\x7f\u202e"),
    "a\\nb\\r\\tc\\u{1b}[31m\\u{9b}\\u{7f}\\u{202e}",
  );
});

Deno.test("a text line has time, name, severity, message and fields", () => {
  assertEquals(
    logged({}, "warn", "a thing", { id: "x y", n: 3, ok: true, none: undefined, eq: "a=b" }),
    '1970-01-01T00:00:00.000Z tool: warn: a thing id="x y" n=3 ok=true eq="a=b"\n',
  );
  assertEquals(logged({}, "info", "a thing"), "1970-01-01T00:00:00.000Z tool: a thing\n");
});

Deno.test("a JSON line is one object", () => {
  const line = logged({ format: "json" }, "error", "two\nlines", { id: "x" });
  assertMatch(line, /^[^\n]*\n$/);
  assertEquals(JSON.parse(line), {
    time: "1970-01-01T00:00:00.000Z",
    level: "error",
    name: "tool",
    message: "two\nlines",
    id: "x",
  });
});

Deno.test("whatever message and fields hold, a log entry is one line that no terminal obeys", () => {
  const random = new Random(5);
  for (const format of ["text", "json"] as const) {
    for (let i = 0; i < 2000; i++) {
      const line = logged({ format }, "info", random.text(30), { field: random.text(30) });
      assert(line.endsWith("\n"));
      assert(!DANGEROUS.test(line.slice(0, -1)), JSON.stringify(line));
    }
  }
});

Deno.test("fields cannot pretend to be another time, level or message", () => {
  const line = logged({ format: "json" }, "info", "real", { message: "fake", level: "error" });
  assertEquals([JSON.parse(line).message, JSON.parse(line).level], ["real", "info"]);
});

Deno.test("entries below the level are not written", () => {
  assertEquals(logged({}, "debug", "x"), "");
  assertEquals(logged({ level: "error" }, "warn", "x"), "");
  assert(logged({ level: "debug" }, "debug", "x") !== "");
});

Deno.test("a JSON entry is text of whole characters, and no longer than a line may be", () => {
  const halves = { id: "\ud800a", type: "b\udfff" };
  const line = logged({ format: "json" }, "info", "half \ud83d", halves);
  assert(!/\\ud[89a-f]/.test(line), line);
  assertEquals(JSON.parse(line).message, "half \ufffd");
  assertEquals(JSON.parse(line).id, "\ufffda");
  assert(logged({ format: "json" }, "info", "x".repeat(1e6), { y: "z".repeat(1e6) }).length < 2e4);
});

Deno.test("a password in a URL is masked, wherever it stands", () => {
  for (const format of ["text", "json"] as const) {
    const url = "amqp://me:s3cret@host/x";
    const line = logged({ format }, "warn", `cannot reach ${url}`, { url });
    assert(!line.includes("s3cret"), line);
    assertMatch(line, /amqp:\/\/me:\*\*\*@host\/x/);
  }
});

Deno.test("what the message says already is a field for machines only", () => {
  let text = "", json = "";
  const make = (format: "text" | "json", write: (line: string) => void) =>
    createLogger({ name: "tool", now: () => new Date(0), format, write });
  make("text", (line) => text = line).warn("lost; again in 2 s", { id: "a" }, { pause_ms: 2000 });
  make("json", (line) => json = line).warn("lost; again in 2 s", { id: "a" }, { pause_ms: 2000 });
  assertEquals(text, "1970-01-01T00:00:00.000Z tool: warn: lost; again in 2 s id=a\n");
  assertEquals([JSON.parse(json).id, JSON.parse(json).pause_ms], ["a", 2000]);
});
