/** No block of commands is left out but by name. */
import { assertEquals } from "@std/assert";
import { faultOfTags, isListed, NOT_RUN, readPages } from "./blocks.ts";

Deno.test("every fenced block says what it is", async () => {
  const wrong: string[] = [];
  for (const [page, blocks] of await readPages()) {
    for (const block of blocks) {
      const fault = faultOfTags(block);
      if (fault !== undefined) wrong.push(`${page}:${block.line}: ${fault}`);
    }
  }
  assertEquals(wrong, []);
});

Deno.test("what is not run is there, once, with a reason", async () => {
  const pages = await readPages();
  for (const { page, begins } of NOT_RUN) {
    const found = pages.get(page)!.filter(({ text }) => text.split("\n")[0] === begins);
    assertEquals([page, begins, found.length], [page, begins, 1]);
    assertEquals([begins, found.every((block) => isListed(page, block))], [begins, true]);
  }
});
