/** What becomes of stdout and of return values. */
import { assertEquals } from "@std/assert";
import { AnswerHead, answerOf } from "../../src/handlers/answer.ts";
import { parseProgress } from "../../src/handlers/progress_file.ts";
import { MAX_ANSWER_BYTES } from "../../src/task/handler.ts";

Deno.test("an answer holds the beginning of a stream, and is text when that is UTF-8", () => {
  const head = new AnswerHead();
  const chunk = new TextEncoder().encode("\u00e9".repeat(100_001));
  for (let sent = 0; sent <= MAX_ANSWER_BYTES; sent += chunk.length) head.push(chunk);
  const { body, cut, contentType } = head.answer();
  assertEquals([body.length, cut, contentType], [MAX_ANSWER_BYTES, true, "text/plain"]);
  const whole = new AnswerHead();
  whole.push(Uint8Array.of(0xc3));
  assertEquals(whole.answer(), {
    body: Uint8Array.of(0xc3),
    cut: false,
    contentType: "application/octet-stream",
  });
});

Deno.test("a return value that JSON cannot hold is left out, with the reason", () => {
  for (const value of [1n, () => {}, Symbol("s")]) {
    const { body, cut, error } = answerOf(value);
    assertEquals([body.length, cut, typeof error], [0, true, "string"]);
  }
  assertEquals(answerOf(undefined), { body: new Uint8Array(), cut: false });
  assertEquals(new TextDecoder().decode(answerOf(null).body), "null");
});

Deno.test("a line of progress is a number, a share, or words", () => {
  const lines: [string, object][] = [
    ["3/10", { done: 3, total: 10 }],
    ["2.5/10", { done: 2.5, total: 10 }],
    ["30%", { done: 30, total: 100 }],
    ["7", { done: 7 }],
    ["copying 3/10", { text: "copying 3/10" }],
  ];
  for (const [line, progress] of lines) assertEquals(parseProgress(line), progress);
});
