/** One grammar for queue names in all tools. */
import { assertEquals, assertThrows } from "@std/assert";
import { queue, queues } from "../../src/cli/queue_names.ts";
import { UsageError } from "../../src/errors.ts";
import { Random } from "../support/random.ts";

Deno.test("a list of queues: names, parts, and a backslash for what they use", () => {
  const rows: [given: string, expected: [name: string, weight: number][]][] = [
    ["q", [["q", 1]]],
    ["high=3,low", [["high", 3], ["low", 1]]],
    ["tenant\\=12", [["tenant=12", 1]]],
    ["a\\,b=2,c\\\\", [["a,b", 2], ["c\\", 1]]],
    [" a, b ", [[" a", 1], [" b ", 1]]],
    ["\u00fc=99999", [["\u00fc", 99_999]]],
  ];
  for (const [given, expected] of rows) {
    const shares = queues.parse([given], "--queue");
    assertEquals(shares.map(({ name, weight }) => [name, weight]), expected, given);
  }
});

Deno.test("any name comes through when it is escaped, alone and in a list", () => {
  const random = new Random(3);
  for (let i = 0; i < 500; i++) {
    const name = Array.from(
      { length: 1 + random.below(9) },
      () => random.pick([..."a=,\\1 \u00fc"]),
    )
      .join("");
    const escaped = name.replace(/[\\,=]/g, "\\$&");
    assertEquals(queue.parse([escaped], "--queue"), name);
    assertEquals(queues.parse([`${escaped}=7,other`], "--queue"), [
      { name, weight: 7 },
      { name: "other", weight: 1 },
    ]);
  }
});

Deno.test("what is no list of names, or a list where one is wanted, is refused", () => {
  const part = `behind "="`;
  const list: [string, string][] = [
    ["a,,b", "of 1 to 238 bytes, and one has 0"],
    ["", "of 1 to 238 bytes, and one has 0"],
    ["=3", "of 1 to 238 bytes, and one has 0"],
    ["a=", part],
    ["a=0", part],
    ["a=1=2", part],
    ["a=b", part],
    ["a=100000", part],
    ["a=\\\\", part],
    ["a,a", "different names"],
    ["a,a=2", "different names"],
    ["dom\\user", 'must have "\\" in a name written "\\\\"'],
    ["a\\", 'must have "\\" in a name written "\\\\"'],
    ["a\nb", "without a line break"],
    ["a\rb", "without a line break"],
  ];
  for (const [given, says] of list) {
    for (const flag of [queue, queues]) {
      assertThrows(() => flag.parse([given], "--queue"), UsageError, says, given);
    }
  }
  for (const given of ["high=3,low", "a,b", "tenant=12"]) {
    assertThrows(() => queue.parse([given], "WORK_QUEUE"), UsageError, "WORK_QUEUE must name one");
  }
});

Deno.test("an option given twice is a list, and none is left out", () => {
  assertEquals(queues.parse(["a=2", "b\\,", "c,d"], "--queue"), [
    { name: "a", weight: 2 },
    { name: "b,", weight: 1 },
    { name: "c", weight: 1 },
    { name: "d", weight: 1 },
  ]);
  assertThrows(() => queues.parse(["a", "b,a"], "--queue"), UsageError, "different names");
  assertThrows(() => queues.parse(["a\\", "b"], "--queue"), UsageError, 'written "\\\\"');
  assertThrows(() => queue.parse(["a", "b"], "--queue"), UsageError, "must name one queue here");
});
