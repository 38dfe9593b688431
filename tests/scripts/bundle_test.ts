import { assertEquals } from "@std/assert";
import { bundle } from "../../scripts/bundle.ts";

const STATIC_IMPORT = /^(?:import|export)\s(?:[^"';]*\sfrom\s*)?"([^"]+)";/gm;

/** What is loaded before the program begins: files of the bundle, and whatever else is imported. */
async function loadedFirst(program: string): Promise<{ files: string[]; others: string[] }> {
  const files = [program];
  const others = new Set<string>();
  for (const file of files) {
    for (const [, name] of (await Deno.readTextFile(file)).matchAll(STATIC_IMPORT)) {
      const part = new URL(name!, `file://${file}`).pathname;
      if (!name!.startsWith("./")) others.add(name!);
      else if (!files.includes(part)) files.push(part);
    }
  }
  return { files, others: [...others] };
}

Deno.test("a bundled program starts no code that it does not need, and names no folder of this host", async () => {
  const folder = await Deno.makeTempDir({ prefix: "bundle-" });
  try {
    const parts = await bundle("new_task", folder);
    const { files, others } = await loadedFirst(parts[0]);
    assertEquals(others, []);
    const texts = await Promise.all(files.map((file) => Deno.readTextFile(file)));
    const laters = [
      ...["cli/bulk.ts", "front/bulk.ts", "front/calls.ts", "front/http/service.ts"],
      ...["front/schedule_runner.ts", "task/record.ts", "cli-progress", "croner"],
    ];
    for (const later of laters) {
      assertEquals(texts.filter((text) => text.includes(`// npm:${later}`)), [], later);
      assertEquals(texts.filter((text) => text.includes(`// src/${later}`)), [], later);
    }
    for (const file of parts) {
      assertEquals(/\S*\/npm\/registry\S*/.exec(await Deno.readTextFile(file)), null, file);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
