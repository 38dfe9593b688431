/** The file in which `new_task --state` keeps its times. */
import { assertEquals } from "@std/assert";
import { readSlotFile, writeSlotFile } from "../../src/front/slot_file.ts";
import { tempDir } from "../support/temp.ts";

Deno.test("those who share a state file write it as a whole, each in its turn", async () => {
  await using dir = await tempDir("slots-");
  const path = dir.file("state");
  // Another length each, so that two in one file would be seen.
  const states = Array.from({ length: 40 }, (_, i) => {
    return new Map(Array.from({ length: i + 1 }, (_, j) => [`${i}-${j}`, 1_000 * j]));
  });
  await Promise.all(states.map((state) => writeSlotFile(path, state)));
  const kept = await readSlotFile(path);
  assertEquals(kept, states[kept!.size - 1]);
  const names = [...Deno.readDirSync(dir.path)].map(({ name }) => name);
  assertEquals(names, ["state"]);
});
