/** The page in a real browser, in front of a real broker. */
import { createServer, request } from "node:http";
import { assert, assertEquals } from "@std/assert";
import type { Page } from "playwright-core";
import type { MessageDetail } from "../../src/observe/board.ts";
import { declareQueue } from "../../src/amqp/declare.ts";
import { deadQueue, workQueue } from "../../src/task/topology.ts";
import { stepWith } from "../support/process.ts";
import { uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { connectorFor, QueueBench } from "../worker/bench.ts";
import { digestOfSources } from "../../scripts/page.ts";
import assets from "../../src/web/assets.json" with { type: "json" };
import { CHROMIUM, hashOf, inTab, launch, SHOWN, Tab, violationsOf } from "./browser.ts";
import { at, Paged } from "./paged.ts";

/** The long form: deno task test:page. */
const isLong = Deno.env.get("PAGE_LONG") === "1";
const [QUEUES, DEAD] = isLong ? [1_000, 10_000] : [250, 1_000];

function shown(count: number): string {
  return count.toLocaleString("en");
}

Deno.test("the bundle of the page is made of its sources: deno task page", async () => {
  assertEquals(assets.sources, await digestOfSources());
});

Deno.test({
  ...stepWith(CHROMIUM, "the page in a browser"),
  // Playwright keeps pipes to its browser.
  sanitizeResources: false,
  sanitizeOps: false,
  async fn(t) {
    await using paged = await Paged.start();
    const browser = await launch();
    try {
      await t.step("nothing is there yet, and the command to try is", async () => {
        await inTab(browser, paged, "", async (page) => {
          await page.getByText("There are no queues yet").waitFor(SHOWN);
          await page.getByText("new_task Hello...").waitFor(SHOWN);
          assertEquals(await violationsOf(page), []);
        });
      });

      await t.step("its numbers are the broker's while tasks flow", async () => {
        await using bench = await QueueBench.open(paged.broker.url);
        await using worker = bench.worker("--concurrency", "4");
        await inTab(browser, paged, "", async (page) => {
          const row = page.getByRole("row").filter({ hasText: bench.name });
          for (let n = 0; n < 400; n++) bench.send(".".repeat(n % 2)).catch(() => {});
          await row.waitFor(SHOWN);
          await waitUntil("all tasks to be done", async () => {
            return (await paged.queue(bench.name)).totals!.acked >= 10;
          });
          await paged.put(`${at(bench.name)}/paused`, { paused: true });
          await row.getByText("paused").waitFor(SHOWN);
          await waitUntil("what runs to end, on the page and in the broker", async () => {
            const { ready, unacked, consumers } = await paged.queue(bench.name);
            const cells = await row.getByRole("cell").allTextContents();
            return unacked === 0 && ready > 0 &&
              cells.slice(0, 2).join() === `${ready},0` && cells[6] === `${consumers}`;
          });
          assertEquals(await violationsOf(page), []);
        });
        worker.kill();
        await worker.ended();
      });

      await t.step("sends, shows, pauses, finds, drops and purges", async () => {
        await using bench = await QueueBench.open(paged.broker.url);
        await inTab(browser, paged, hashOf(bench.name), async (page) => {
          await page.getByText("Nothing waits here").waitFor(SHOWN);
          await page.getByRole("button", { name: "Send a task" }).click();
          await page.getByLabel("Body").fill('{"order": 4711}');
          await page.getByLabel("Type", { exact: true }).fill("order.paid");
          await page.getByRole("button", { name: "Send", exact: true }).click();
          await page.getByText(`Sent to ${bench.name} as`).waitFor(SHOWN);
          await paged.send(bench.name, { body: "second" }, { body: "third" });
          // The list stays as it is until it is asked to change.
          await page.getByText("Nothing waits here").waitFor(SHOWN);
          await page.getByRole("button", { name: "Refresh" }).click();
          await page.getByRole("button", { name: /4711/ }).click();
          const dialog = page.getByRole("dialog");
          await dialog.getByText('"order": 4711').waitFor(SHOWN);
          await dialog.getByRole("button", { name: "Hex" }).click();
          await dialog.getByText("7b 22 6f 72 64 65 72").waitFor(SHOWN);
          assertEquals(await violationsOf(page), []);
          await page.keyboard.press("Escape");

          await page.getByRole("button", { name: "Pause" }).click();
          await page.getByText(`${bench.name} is paused.`).waitFor(SHOWN);
          assertEquals((await paged.queue(bench.name)).paused, true);
          await page.getByRole("button", { name: "Resume" }).click();
          await page.getByText(`${bench.name} is not paused any more.`).waitFor(SHOWN);

          const second = page.getByRole("row").filter({ hasText: "second" });
          await second.getByRole("checkbox").check();
          await page.getByRole("button", { name: /^Drop 1 task/ }).click();
          await page.getByRole("dialog").getByRole("button", { name: "Drop 1 task" }).click();
          await page.getByText("1 task dropped.").waitFor(SHOWN);
          await waitUntil("it to be gone from the list", async () => await second.count() === 0);
          assertEquals((await paged.messages(bench.name)).map(({ preview }) => preview), [
            '{"order": 4711}',
            "third",
          ]);

          await page.getByRole("searchbox", { name: /Find a task/ }).fill("4711");
          await page.keyboard.press("Enter");
          await page.getByText("1 task found among").waitFor(SHOWN);
          assertEquals(await violationsOf(page), []);
          await page.goBack();

          await page.getByRole("button", { name: /Purge/ }).click();
          await page.getByRole("dialog").getByRole("button", { name: "Purge 2 tasks" }).click();
          await page.getByText("2 tasks removed.").waitFor(SHOWN);
          assertEquals(await bench.ready(), 0);
        });
      });

      await t.step("works below a path, behind a proxy", async () => {
        const queue = uniqueName("proxied");
        await paged.send(queue, { body: "there" });
        await using proxy = await startProxy("/queues", paged.url);
        const tab = await Tab.open(browser, proxy.url + hashOf(queue));
        const { page } = tab;
        await page.getByText("Live", { exact: true }).waitFor(SHOWN);
        await page.getByRole("button", { name: "Send a task" }).click();
        await page.getByLabel("Body").fill("through the proxy");
        await page.getByRole("button", { name: "Send", exact: true }).click();
        await page.getByText(`Sent to ${queue} as`).waitFor(SHOWN);
        assertEquals((await paged.queue(queue)).ready, 2);
        await tab.close();
      });

      await t.step("replays a group, edits one, and two pages stay right", async () => {
        await using bench = await QueueBench.open(paged.broker.url);
        const dead = `${bench.name}.dead`;
        const letter = (reason: string, n: number) => ({
          ...{ body: `letter ${n}`, id: `${reason}-${n}`, type: "mail" },
          headers: { "task-dead-reason": reason, "task-origin-queue": bench.name },
        });
        await paged.send(dead, ...[1, 2, 3].map((n) => letter("rejected", n)));
        await paged.send(dead, letter("expired", 9));
        const other = await Tab.open(browser, paged.url + hashOf(bench.name, "dead"));
        await other.page.getByRole("button", { name: "Replay rejected mail" }).waitFor(SHOWN);
        await inTab(browser, paged, hashOf(bench.name, "dead"), async (page) => {
          await page.getByRole("button", { name: "Replay rejected mail" }).click();
          await page.getByRole("button", { name: "Replay 3 tasks" }).click();
          await page.getByText(`3 tasks replayed to ${bench.name}.`).waitFor(SHOWN);
          assertEquals([await bench.ready(), await bench.ready(dead)], [3, 1]);

          // The other page had the same list: what it does then is told as it is.
          await other.page.getByRole("link", { name: /^Dead 1$/ }).waitFor(SHOWN);
          await other.page.getByRole("button", { name: "Drop rejected mail" }).click();
          await other.page.getByRole("button", { name: "Drop 3 tasks" }).click();
          await other.page.getByText(/Nothing was there any more/).waitFor(SHOWN);

          const crlf = btoa("one\r\ntwo");
          const rest = { correlation_id: "c", reply_to: "r", content_encoding: "x" };
          await paged.send(dead, { body_base64: crlf, id: "lines", ...rest });
          await page.getByRole("button", { name: "There are changes" }).click();
          await page.getByRole("button", { name: /lines/ }).click();
          await page.getByRole("button", { name: "Edit and send again" }).click();
          await page.getByLabel("Type", { exact: true }).fill("now");
          await page.getByRole("button", { name: "Send in its place" }).click();
          const sent = `Sent to ${bench.name} as lines, in place of the old one.`;
          await page.getByText(sent).waitFor(SHOWN);
          const [lines] = await paged.messages(bench.name, "end=newest&limit=1");
          const path = `${at(bench.name)}/messages/${lines!.key}`;
          const edited = await paged.get<MessageDetail>(path);
          assertEquals([edited.type, edited.bodyBase64], ["now", crlf]);
          for (const [name, value] of Object.entries(rest)) {
            assertEquals(edited.properties[name], value);
          }
          await paged.post(`${at(bench.name)}/drop`, { keys: [lines!.key] });

          await page.getByRole("button", { name: /letter 9/ }).click();
          await page.getByRole("button", { name: "Edit and send again" }).click();
          await page.getByLabel("Body").fill("mended");
          await page.getByRole("button", { name: "Send in its place" }).click();
          await page.getByText(sent.replace("lines", "expired-9")).waitFor(SHOWN);
          assertEquals([await bench.ready(), await bench.ready(dead)], [4, 0]);
          const [newest] = await paged.messages(bench.name, "end=newest&limit=1");
          assertEquals([newest!.preview, newest!.id, newest!.reason], [
            "mended",
            "expired-9",
            undefined,
          ]);
          assertEquals(await violationsOf(page), []);
        });
        await other.close();
      });

      await t.step(
        "a broker that is gone is said to be, and the page heals by itself",
        async () => {
          const queue = uniqueName("gone");
          await paged.send(queue, ...Array.from({ length: 51 }, (_, n) => ({ body: `task ${n}` })));
          await inTab(browser, paged, hashOf(queue), async (page) => {
            await page.getByText("Live", { exact: true }).waitFor(SHOWN);
            await page.getByText("50 of 51").waitFor(SHOWN);
            await paged.broker.stop();
            await page.getByText(/Not connected since/).waitFor(SHOWN);
            await page.getByRole("button", { name: "Show more" }).click();
            await page.getByText(/The broker does not answer/).waitFor(SHOWN);
            assertEquals(await violationsOf(page), []);
            await paged.broker.start();
            await page.getByText("Live", { exact: true }).waitFor(SHOWN);
            assertEquals(await page.getByText(/Not connected since/).count(), 0);
            await page.getByRole("button", { name: "Show more" }).click();
            await page.getByText("51 of 51").waitFor(SHOWN);
          });
        },
      );

      await t.step("scripts in names, headers and bodies stay text", async () => {
        const evil = `<img src=x onerror="document.title='owned'">`;
        const queue = uniqueName(evil);
        await paged.send(queue, { body: evil, id: evil, type: evil, headers: { [evil]: evil } });
        await paged.send(`${queue}.dead`, {
          ...{ body: evil, type: evil },
          headers: { "task-dead-reason": evil, "task-error": evil },
        });
        const transport = await connectorFor(paged.broker.url, evil).connect();
        const channel = await transport.openChannel();
        const running = uniqueName(`${evil} runs`);
        await paged.send(running, { body: evil });
        await channel.basicConsume(running, { noAck: false, tag: evil }, () => {});
        const queues = [hashOf(queue), hashOf(queue, "dead")];
        const others = ["", "#/dead", "#/connections", "#/running", hashOf(running, "consumers")];
        for (const hash of [...queues, ...others]) {
          await inTab(browser, paged, hash, async (page) => {
            await page.getByText(evil).first().waitFor(SHOWN);
            const message = page.locator(".messages button.link").first();
            if (queues.includes(hash)) {
              await message.click();
              await page.getByRole("dialog").getByText(evil).first().waitFor(SHOWN);
            }
            assert(await page.title() !== "owned");
            assertEquals(await page.locator("img").count(), 0);
          });
        }
        await transport.shutdown();
        // Nor do they become commands of whoever copies one.
        await inTab(browser, paged, hashOf("; none"), async (page) => {
          await page.getByText("new_task --queue '; none' Hello...").waitFor(SHOWN);
        });
      });

      await t.step(
        "tabs in the background leave the connections to those that are seen",
        async () => {
          await using bench = await QueueBench.open(paged.broker.url);
          await declareQueue(bench.transport, workQueue(bench.name));
          const context = await browser.newContext();
          const show = (page: Page, hidden: boolean) =>
            page.evaluate(`Object.defineProperty(document, "hidden", {
              configurable: true, get: () => ${hidden} });
            document.dispatchEvent(new Event("visibilitychange"))`);
          // A browser has six of them.
          const pages: Page[] = [];
          for (let i = 0; i < 8; i++) {
            const page = await context.newPage();
            await page.goto(`${paged.url}/${hashOf(bench.name)}`);
            await page.getByText("Live", { exact: true }).waitFor(SHOWN);
            await show(page, true);
            pages.push(page);
          }
          await bench.send("comes meanwhile");
          await show(pages[0]!, false);
          await pages[0]!.getByText("Live", { exact: true }).waitFor(SHOWN);
          await pages[0]!.locator(".stat", { hasText: "Waiting" }).getByText("1", { exact: true })
            .waitFor(SHOWN);
          await context.close();
        },
      );

      await t.step("on a phone, in the dark, and by the keyboard", async () => {
        const options = {
          ...{ viewport: { width: 320, height: 640 }, colorScheme: "dark" },
          ...{ isMobile: true, hasTouch: true },
        };
        await using bench = await QueueBench.open(paged.broker.url);
        await declareQueue(bench.transport, workQueue(bench.name));
        const long = "L".repeat(120);
        const transport = await connectorFor(paged.broker.url, long).connect();
        const channel = await transport.openChannel();
        await channel.basicConsume(bench.name, { tag: long }, () => {});
        const tab = await Tab.open(browser, paged.url, options);
        const requireNarrow = async (view: string) => {
          const wide = await tab.page.evaluate("document.documentElement.scrollWidth");
          assert(Number(wide) <= 320, `${view} is ${wide} wide`);
        };
        for (const view of ["Queues", "Running", "Dead letters", "Connections", "Broker"]) {
          await tab.page.getByRole("link", { name: view }).first().click();
          await tab.page.getByRole("heading", { level: 1, name: view }).waitFor(SHOWN);
          assertEquals([view, await violationsOf(tab.page)], [view, []]);
          await requireNarrow(view);
        }
        await tab.page.goto(`${paged.url}/${hashOf(long)}`);
        await tab.page.getByText("new_task --queue").waitFor(SHOWN);
        await requireNarrow("the command to try");
        // All of a row is seen, without a way to the side.
        for (const hash of ["#/connections", hashOf(bench.name, "consumers")]) {
          await tab.page.goto(`${paged.url}/${hash}`);
          const cell = tab.page.locator("table.plain tbody td").last();
          await cell.waitFor(SHOWN);
          const { x, width } = (await cell.boundingBox())!;
          assert(x + width <= 320, `${hash}: ${x + width}`);
        }
        await tab.close();
        await transport.shutdown();
        await inTab(browser, paged, "", async (page) => {
          await page.getByText("Live", { exact: true }).waitFor(SHOWN);
          await page.keyboard.press("Tab");
          assertEquals(await focused(page), "Skip to the content");
          await page.keyboard.press("/");
          await page.keyboard.type("nothing like it");
          await page.keyboard.press("Enter");
          await page.getByText("No task has this text").waitFor(SHOWN);
          assertEquals(await focused(page), "Search for \u201cnothing like it\u201d");
        });
      });

      await t.step(`${QUEUES} queues and ${DEAD} dead tasks can be used`, async () => {
        const third = Math.floor((DEAD + 1) / 3);
        const prefix = uniqueName("many");
        const queues = Array.from({ length: QUEUES }, (_, n) => `${prefix}.${n}`);
        await using bench = await QueueBench.open(paged.broker.url);
        const { name, transport } = bench;
        const specs = [...queues.map((queue) => workQueue(queue)), deadQueue(name)];
        for (const spec of specs) await declareQueue(transport, spec);
        const headers = { "task-dead-reason": "rejected", "task-origin-queue": name };
        await Promise.all([
          ...queues.map((queue, n) => bench.send(`task ${n}`, {}, queue)),
          ...Array.from({ length: DEAD }, (_, n) => {
            const properties = { messageId: `letter-${n}`, type: `type ${n % 3}`, headers };
            return bench.send(`letter ${n}`, properties, `${name}.dead`);
          }),
        ]);
        await inTab(browser, paged, "", async (page) => {
          await page.getByText(/Show \d+ more/).waitFor(SHOWN);
          const painted = await page.evaluate(
            "performance.getEntriesByName('first-contentful-paint')[0].startTime",
          );
          const scrolled = await page.evaluate(SCROLL) as number;
          if (isLong) assert(painted as number < 2_000, `first paint after ${painted} ms`);
          if (isLong) assert(scrolled < 500, `a frame of a scroll took ${scrolled} ms`);
          await page.getByRole("searchbox", { name: /Filter/ }).fill(`${prefix}.${QUEUES - 1}`);
          await page.getByRole("link", { name: `${prefix}.${QUEUES - 1}` }).click();
          await page.getByRole("button", { name: new RegExp(`task ${QUEUES - 1}`) }).waitFor(SHOWN);
        });
        await inTab(browser, paged, hashOf(name, "dead"), async (page) => {
          await page.getByRole("button", { name: new RegExp(`letter ${DEAD - 1}`) }).waitFor(SHOWN);
          await page.getByRole("button", { name: "Replay rejected type 1" }).click();
          await page.getByRole("button", { name: `Replay ${shown(third)} tasks` }).click();
          await page.getByText(`${shown(third)} tasks replayed to ${name}.`).waitFor(SHOWN);
          await page.getByRole("button", { name: "Drop all" }).click();
          await page.getByRole("button", { name: `Drop ${shown(DEAD - third)} tasks` }).click();
          await page.getByText(`${shown(DEAD - third)} tasks dropped.`).waitFor(SHOWN);
          assertEquals((await paged.queue(name)).ready, third);
        });
      });
    } finally {
      await browser.close();
    }
  },
});

/** Scrolls to the end in steps. Gives the longest time between two frames. */
const SCROLL = `(async () => {
  let [longest, last] = [0, performance.now()];
  for (let step = 0; step < 60; step++) {
    scrollBy(0, 200);
    const now = await new Promise(requestAnimationFrame);
    longest = Math.max(longest, now - last);
    last = now;
  }
  return longest;
})()`;

/** A proxy that has what is at `target` below `path`, and passes Host on as it is. */
async function startProxy(
  path: string,
  target: string,
): Promise<AsyncDisposable & { url: string }> {
  const server = createServer((asked, answer) => {
    if (!asked.url!.startsWith(`${path}/`)) return void answer.writeHead(404).end();
    const { method, headers } = asked;
    const passed = request(target + asked.url!.slice(path.length), { method, headers });
    passed.on("response", (got) => {
      answer.writeHead(got.statusCode!, got.headers);
      got.pipe(answer);
    });
    answer.on("close", () => passed.destroy());
    passed.on("error", () => answer.destroy());
    asked.pipe(passed);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}${path}/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function focused(page: Page): Promise<string> {
  return await page.evaluate("document.activeElement.textContent.trim()");
}
