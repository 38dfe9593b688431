import { assertEquals } from "@std/assert";
import { openRejects } from "../../src/cli/rejects.ts";
import { tempDir } from "../support/temp.ts";

Deno.test("behind a line that a full disk has cut short, the next one begins anew", async () => {
  await using dir = await tempDir("rejects-");
  const path = dir.file("left");
  await Deno.writeTextFile(path, '{"line":1,"rea');
  for (const line of [2, 3]) {
    await using rejects = await openRejects(path);
    await rejects.add({ line }, new Error("odd"), new Uint8Array([0xff]));
  }
  const rest = { reason: "odd", record_base64: "/w==" };
  const [cut, ...lines] = (await Deno.readTextFile(path)).trimEnd().split("\n");
  assertEquals(cut, '{"line":1,"rea');
  assertEquals(lines.map((line) => JSON.parse(line)), [{ line: 2, ...rest }, { line: 3, ...rest }]);
});
