/** Looking for a text in others: what V8 says, in a time that grows with them alone. */
import { assert, assertEquals } from "@std/assert";
import { Needle, unescaped } from "../../src/broker/admin/text_search.ts";
import { randomNumbers } from "../support/random.ts";

Deno.test("a needle finds what V8 finds", () => {
  const random = randomNumbers(7);
  const word = (length: number) =>
    Array.from({ length }, () => "ab"[Math.floor(random() * 2)]).join("");
  for (let n = 0; n < 3_000; n++) {
    const [text, other] = [word(1 + n % 24), word(n % 200)];
    assertEquals(new Needle(text).isIn(other), other.includes(text), `${text} in ${other}`);
  }
});

Deno.test("a needle that nearly matches everywhere is looked for once", () => {
  const text = "a".repeat(77) + "b" + "a".repeat(422);
  const other = "a".repeat(300_000) + text;
  let looked = 0;
  const counting = {
    length: other.length,
    charCodeAt: (at: number) => (looked++, other.charCodeAt(at)),
  } as unknown as string;
  assert(new Needle(text).isIn(counting));
  assertEquals(looked, other.length);
});

Deno.test("escapes of JSON become what they stand for, and nothing else does", () => {
  const rows: [text: string, plain: string][] = [
    ["gr\\u00fc\\u00DFe", "gr\u{fc}\u{df}e"],
    ["\\ud83d\\ude00", "\u{1f600}"],
    ["\\u00f", "\\u00f"],
    ["\\u00g4\\", "\\u00g4\\"],
    ["\\\\u0041", "\\A"],
    ["\\U0041\\n", "\\U0041\\n"],
    ["", ""],
  ];
  for (const [text, plain] of rows) assertEquals(unescaped(text), plain);
});
