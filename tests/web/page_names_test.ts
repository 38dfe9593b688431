/** What strangers put into names, headers and bodies, and very many of them, on the page. */
import { assert, assertEquals } from "@std/assert";
import type { Page } from "playwright-core";
import { stepWith } from "../support/process.ts";
import { uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { CHROMIUM, hashOf, inTab, launch, SHOWN } from "./browser.ts";
import { Paged } from "./paged.ts";

Deno.test({
  ...stepWith(CHROMIUM, "names and headers of strangers, on the page in a browser"),
  // Playwright keeps pipes to its browser.
  sanitizeResources: false,
  sanitizeOps: false,
  async fn(t) {
    await using paged = await Paged.start();
    const browser = await launch();
    try {
      await t.step("long names leave room for what is beside them", async () => {
        const queue = "n".repeat(200);
        const long = "t".repeat(250);
        const needle = uniqueName("needle");
        await paged.send(queue, { body: needle, type: long });
        await paged.send(`${queue}.dead`, {
          ...{ body: "letter", type: long },
          headers: { "task-dead-reason": long, "task-error": long },
        });
        const views = [hashOf(queue), hashOf(queue, "dead"), "#/dead", `#/search/${needle}`];
        for (const hash of views) {
          await inTab(browser, paged, hash, async (page) => {
            const cards = page.locator("main .card");
            await cards.locator("table.messages tbody tr, .groups li").first().waitFor(SHOWN);
            for (const row of await page.locator("table.messages tbody tr").all()) {
              const share = await widthOf(row.locator("th")) / await widthOf(row);
              assert(share > 0.3, `${hash}: ${share} is left for the task`);
            }
            for (const scroll of await cards.locator(".scroll, .groups").all()) {
              const [wide, seen] = await scroll.evaluate((element) => [
                element.scrollWidth,
                element.clientWidth,
              ]);
              assert(wide! <= seen!, `${hash}: ${wide} wide where ${seen} are seen`);
            }
          });
        }
      });

      await t.step("what turns the text around it is escaped in names", async () => {
        const turned = uniqueName("\u202eevil\u2066");
        const escaped = turned.replace("\u202e", "\\u{202e}").replace("\u2066", "\\u{2066}");
        await paged.send(turned, { body: "x", id: turned, type: turned });
        await paged.send(`${turned}.dead`, { body: "x", id: turned, type: turned });
        const views = ["", "#/dead", hashOf(turned), hashOf(turned, "dead"), "#/search/evil"];
        for (const hash of views) {
          await inTab(browser, paged, hash, async (page) => {
            await page.getByText(escaped).first().waitFor(SHOWN);
            const message = page.locator(".messages button.link").first();
            if (await message.count() > 0) {
              await message.click();
              await page.getByRole("dialog").getByText("Properties").waitFor(SHOWN);
            }
            assertEquals((await seenOn(page)).includes("\u202e"), false);
          });
        }
        await inTab(browser, paged, hashOf(turned), async (page) => {
          await page.getByRole("button", { name: "Pause" }).click();
          await page.getByText(`${escaped} is paused.`).waitFor(SHOWN);
        });
      });

      await t.step("a traceback has its lines, and a time is one", async () => {
        const queue = uniqueName("lines");
        const tail = "Traceback:\n  File x\n    raise";
        await paged.send(`${queue}.dead`, {
          body: "x",
          headers: { "task-dead-reason": "rejected", "task-stderr-tail": tail },
        });
        await inTab(browser, paged, hashOf(queue, "dead"), async (page) => {
          await page.locator(".messages button.link").first().click();
          const cell = page.getByRole("cell", { name: /Traceback/ });
          await cell.waitFor(SHOWN);
          assertEquals(await cell.innerText(), tail);
        });
      });

      await t.step("a search can be changed", async () => {
        await inTab(browser, paged, "#/search/one%20text", async (page) => {
          const field = page.getByRole("searchbox", { name: /Find a task/ });
          await field.waitFor(SHOWN);
          assertEquals(await field.inputValue(), "one text");
          await page.getByRole("link", { name: "Broker" }).click();
          await page.getByRole("heading", { level: 1, name: "Broker" }).waitFor(SHOWN);
          assertEquals(await field.inputValue(), "");
        });
      });

      await t.step("an answer that is long in coming is waited for", async () => {
        const queue = uniqueName("slow");
        await paged.send(queue, { body: "waits" });
        await paged.send(`${queue}.dead`, { body: "dead" });
        for (const tab of ["waiting", "dead"]) {
          await inTab(browser, paged, "#/broker", async (page) => {
            const asked = Promise.withResolvers<void>();
            const held = Promise.withResolvers<void>();
            await page.route(/\/(messages|groups)/, async (route) => {
              asked.resolve();
              await held.promise;
              await route.continue();
            });
            await page.goto(`${paged.url}/${hashOf(queue, tab)}`);
            await asked.promise;
            await page.getByText("Looking").first().waitFor(SHOWN);
            held.resolve();
            await page.locator(".messages button.link").first().waitFor(SHOWN);
            assertEquals(await page.getByText("Looking").count(), 0);
          });
        }
      });

      await t.step("very many dead queues are shown some at a time", async () => {
        const prefix = uniqueName("dead");
        const names = Array.from({ length: 120 }, (_, n) => `${prefix}.${n}`);
        for (const name of names) await paged.send(`${name}.dead`, { body: "x" });
        await inTab(browser, paged, "#/dead", async (page) => {
          const asked: string[] = [];
          page.on("request", (request) => asked.push(request.url()));
          await page.getByRole("button", { name: /^Show \d+ more/ }).waitFor(SHOWN);
          const before = await page.locator(".dead-queue").count();
          assert(before < 60, `${before} at once`);
          await page.getByRole("button", { name: /^Show \d+ more/ }).click();
          await waitUntil("more of them", async () => {
            return await page.locator(".dead-queue").count() > before;
          });
          assert(asked.length < 120, `${asked.length} requests`);
        });
      });
    } finally {
      await browser.close();
    }
  },
});

async function widthOf(part: ReturnType<Page["locator"]>): Promise<number> {
  return (await part.boundingBox())!.width;
}

/** All texts of the page, and what it tells those who do not see it; without bodies of tasks. */
async function seenOn(page: Page): Promise<string> {
  return await page.evaluate(`(() => {
    const labels = [...document.querySelectorAll("[aria-label]")].map((part) => part.ariaLabel);
    return [document.title, document.body.innerText, ...labels].join("\\n");
  })()`);
}
