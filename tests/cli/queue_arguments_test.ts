/** The arguments of a queue that has to be created. */
import { assertEquals, assertThrows } from "@std/assert";
import { argumentTable, queueArguments } from "../../src/cli/queue_arguments.ts";
import { UsageError } from "../../src/errors.ts";

Deno.test("an argument has the type that is named, or else the one it looks like", () => {
  const rows: [string, readonly [string, unknown]][] = [
    ["x-max-priority=5", ["x-max-priority", 5]],
    ["a=-12", ["a", -12]],
    ["a=true", ["a", true]],
    ["a=1.5", ["a", "1.5"]],
    ["a=", ["a", ""]],
    ["a=b=c", ["a", "b=c"]],
    ["a:string=7", ["a", "7"]],
    ["a:bool=false", ["a", false]],
    ["a:int=7", ["a", 7]],
    ["a:b=7", ["a:b", 7]],
    ["a=1234567890123456", ["a", "1234567890123456"]],
  ];
  for (const [given, expected] of rows) {
    assertEquals(queueArguments.parse([given], "--queue-arg"), [expected], given);
  }
  for (
    const given of [
      "x-a:integer=3",
      "x-a:=3",
      "",
      "=1",
      "a",
      "a:int=x",
      "a:bool=1",
      "a:int=1.5",
      `${"k".repeat(256)}=1`,
    ]
  ) {
    assertThrows(
      () => queueArguments.parse([given], "x"),
      UsageError,
      "x must be KEY=VALUE",
      given,
    );
  }
  assertThrows(
    () => queueArguments.parse(["x-queue-type=stream"], "x"),
    UsageError,
    "--queue-type",
  );
});

Deno.test("a queue argument that is given twice, or is not for the type of the queue, is refused", () => {
  const pairs = [["x-max-priority", 5], ["b", "c"]] as const;
  assertEquals(argumentTable(pairs, "classic"), { "x-max-priority": 5, b: "c" });
  assertThrows(() => argumentTable(pairs, "quorum"), UsageError, "must be classic");
  assertThrows(() => argumentTable([pairs[1], pairs[1]], "classic"), UsageError, "gives one twice");
});

Deno.test("duplicates are told by the one header that a worker leaves out of copies", () => {
  assertThrows(() => argumentTable([["x-deduplication-header", "order"]], "quorum"), UsageError);
  const table = argumentTable([["x-message-deduplication", true]], "quorum");
  assertEquals(table, { "x-message-deduplication": true });
});
