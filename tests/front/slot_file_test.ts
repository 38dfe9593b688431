/** The file in which `new_task --state` keeps its times. */
import { assertEquals, assertRejects } from "@std/assert";
import { ToolError } from "../../src/errors.ts";
import { readSlotFile, writeSlotFile } from "../../src/front/slot_file.ts";
import { tempDir } from "../support/temp.ts";
import { mountDisk, mountMissing } from "../support/tmpfs.ts";

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

Deno.test({
  name: "a full disk keeps the state file that was there, and nothing beside it",
  ignore: mountMissing !== undefined,
  async fn() {
    await using disk = await mountDisk(1);
    const path = `${disk.path}/state`;
    const state = new Map([["slot", 1_000]]);
    await writeSlotFile(path, state);
    const filler = Deno.openSync(`${disk.path}/filler`, { write: true, create: true });
    assertEquals(await fill(filler), "full");
    filler.close();
    const larger = new Map([...state, ["x".repeat(100_000), 2_000]]);
    const error = await assertRejects(() => writeSlotFile(path, larger), ToolError);
    assertEquals(error.exitCode, 75);
    assertEquals(await readSlotFile(path), state);
    const names = [...Deno.readDirSync(disk.path)].map(({ name }) => name).sort();
    assertEquals(names, ["filler", "state"]);
  },
});

/** Writes until there is no room. */
async function fill(file: Deno.FsFile): Promise<string> {
  try {
    for (;;) await file.write(new Uint8Array(4_096));
  } catch {
    return "full";
  }
}
