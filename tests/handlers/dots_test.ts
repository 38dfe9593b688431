import { assertEquals } from "@std/assert";
import { describeBody, dotsHandler } from "../../src/handlers/dots.ts";
import { DONE, INTERRUPTED, type Outcome } from "../../src/task/handler.ts";
import type { Task } from "../../src/task/task.ts";
import { Random } from "../support/random.ts";
import { taskWith } from "../support/task.ts";

function taskOf(body: Uint8Array | string): Task {
  return taskWith({ body: typeof body === "string" ? new TextEncoder().encode(body) : body });
}

async function work(
  body: Uint8Array | string,
  signal = new AbortController().signal,
): Promise<{ outcome: Outcome; printed: string[] }> {
  const printed: string[] = [];
  const handler = dotsHandler({ print: (line) => void printed.push(line), dotMs: 1 });
  return { outcome: await handler(taskOf(body), { signal, attempt: 1 }), printed };
}

Deno.test("a task is received and done in the tutorial's words", async () => {
  assertEquals(await work("Hello..."), {
    outcome: DONE,
    printed: [" [x] Received Hello...\n", " [x] Done\n"],
  });
  assertEquals((await work("")).printed, [" [x] Received \n", " [x] Done\n"]);
});

Deno.test("an aborted task is interrupted and not done", async () => {
  const before = await work("..", AbortSignal.abort());
  assertEquals(before, { outcome: INTERRUPTED, printed: [" [x] Received ..\n"] });

  const abort = new AbortController();
  const printed: string[] = [];
  const handler = dotsHandler({ print: (line) => void printed.push(line), dotMs: 2 ** 31 });
  const working = handler(taskOf("..."), { signal: abort.signal, attempt: 1 });
  abort.abort();
  assertEquals([await working, printed], [INTERRUPTED, [" [x] Received ...\n"]]);
});

Deno.test("every dot is a second unless told otherwise, wherever it is", async () => {
  const abort = new AbortController();
  let finished = false;
  const working = dotsHandler({ print: () => {} })(taskOf("no dot"), {
    signal: abort.signal,
    attempt: 1,
  });
  assertEquals(await working, DONE);
  const dotted = dotsHandler({ print: () => {} })(taskOf("\xff."), {
    signal: abort.signal,
    attempt: 1,
  })
    .then(() => finished = true);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(finished, false);
  abort.abort();
  await dotted;
});

Deno.test("a body is shown on one line, controls escaped", () => {
  assertEquals(describeBody(taskOf("a\nb\x1b[2J\u202ec")), "a\\nb\\u{1b}[2J\\u{202e}c");
  assertEquals(describeBody(taskOf("\ufeffGr\u00fc\u00dfe")), "\ufeffGr\u00fc\u00dfe");
});

Deno.test("a body that is not UTF-8 is counted and shown in hexadecimal", () => {
  assertEquals(
    describeBody(taskOf(new Uint8Array([0xff, 0x00, 0x2e]))),
    "3 bytes that are not UTF-8: ff 00 2e",
  );
  const long = new Uint8Array(100).fill(0x80);
  assertEquals(
    describeBody(taskOf(long)),
    `100 bytes that are not UTF-8: ${Array(32).fill("80").join(" ")} ...`,
  );
});

Deno.test("a long body is cut between two characters and counted", () => {
  for (const [char, size] of [["a", 1], ["\u00e4", 2], ["\u20ac", 3], ["\u{1f407}", 4]] as const) {
    for (const lead of ["", "b", "bb", "bbb"]) {
      const body = lead + char.repeat(2000 * (4 / size) * 3);
      const shown = describeBody(taskOf(body));
      const bytes = new TextEncoder().encode(body).length;
      const kept = Math.floor((4096 - lead.length) / size);
      assertEquals(shown, `${bytes} bytes: ${lead}${char.repeat(kept)}...`);
    }
  }
});

Deno.test("bytes that are not UTF-8 behind the shown part do not matter", () => {
  const body = new Uint8Array(5000).fill(0x61);
  body[4999] = 0xff;
  assertEquals(describeBody(taskOf(body)), `5000 bytes: ${"a".repeat(4096)}...`);
});

Deno.test("any bytes make one line", () => {
  const random = new Random(7);
  for (let i = 0; i < 500; i++) {
    const body = Uint8Array.from(random.list(6000, () => random.pick([0x61, random.below(256)])));
    assertEquals(/[\p{Cc}\u2028\u2029]/u.test(describeBody(taskOf(body))), false);
  }
});
