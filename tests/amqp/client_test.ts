/** The folder of workarounds for the client package. */
import { assertEquals, assertStringIncludes } from "@std/assert";

const FOLDER = new URL("../../src/amqp/client/", import.meta.url);
const CONFIG = new URL("../../deno.json", import.meta.url);

Deno.test("every workaround names the version of the client package that it was seen with", async () => {
  const { imports } = JSON.parse(await Deno.readTextFile(CONFIG));
  const version = imports["@cloudamqp/amqp-client"].replace(/^npm:(.+)@/, "$1 ");
  const files = Array.from(Deno.readDirSync(FOLDER), ({ name }) => name);
  assertEquals(files.includes("view.ts"), true);
  for (const name of files) {
    const [head] = (await Deno.readTextFile(new URL(name, FOLDER))).split("*/", 1);
    // Another version: look whether it still needs each of them.
    assertStringIncludes(head!, `Works around ${version}`, name);
  }
});
