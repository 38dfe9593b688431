/** What the dashboard and the alerts ask for is there, and what the programs say is Prometheus'. */
import { assertEquals } from "@std/assert";
import { run, stepWith, type TestProcess } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { Paged } from "../web/paged.ts";
import { send, start, stop } from "./tools.ts";

const FOLDER = new URL("../../docs/watching/", import.meta.url).pathname;

async function urlOf(program: TestProcess): Promise<string> {
  return (await program.waitForLog(/ metrics at (http:\S*)$/))[1]!;
}

/** The pages of the broker, a worker, the forwarder and the HTTP front, after a task each. */
async function pages(): Promise<string[]> {
  await using paged = await Paged.start();
  const { url } = paged.broker;
  const env = { url, queue: "work" };
  await send(["--queue-type", "classic", "x"], env);
  await using worker = start("worker", ["--metrics", "0", "--", "true"], env);
  await using forwarder = start(
    "worker",
    ["forward", "--to", url, "--to-queue", "there", "--metrics", "0", "--queue", "here"],
    env,
  );
  await using front = start("new_task", ["--http", "0"], env);
  const [, address] = await front.waitForLine(/at (http:\S+)\/tasks/);
  await (await fetch(`${address}/tasks`, { method: "POST", body: "x" })).text();
  await worker.waitForLog(/done/);
  const urls = [
    `${paged.url}/metrics`,
    await urlOf(worker),
    await urlOf(forwarder),
    `${address}/metrics`,
  ];
  const texts = await Promise.all(urls.map(async (url) => await (await fetch(url)).text()));
  for (const program of [worker, forwarder, front]) await stop(program);
  return texts;
}

/** Every PromQL expression of the dashboard. */
async function expressions(): Promise<string[]> {
  const { panels } = JSON.parse(await Deno.readTextFile(`${FOLDER}dashboard.json`)) as {
    panels: { targets?: { expr: string }[] }[];
  };
  return panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
}

Deno.test("dashboard and alerts use names that the programs print, and all of them", async (t) => {
  const texts = await pages();
  const printed = new Set(texts.flatMap((text) => {
    return [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!);
  }));
  const alerts = await Deno.readTextFile(`${FOLDER}alerts.yml`);
  const asked = [...await expressions(), alerts].join("\n");
  const used = new Set(
    [...asked.matchAll(/\b(?:workqueue|process)_[a-z_]+\b/g)].map(([name]) => {
      const base = name.replace(/_(?:bucket|sum|count)$/, "");
      return printed.has(name) ? name : base;
    }),
  );
  // These are of no use on a board, which shows what changes.
  const left = new Set([
    "workqueue_http_tasks_known",
    "workqueue_http_known_bytes",
    "workqueue_http_tasks_confirmed_total",
  ]);
  await t.step("names", () => {
    assertEquals([...used].filter((name) => !printed.has(name)), []);
    const unused = [...printed].filter((name) =>
      name.startsWith("workqueue_") && !used.has(name) && !left.has(name)
    );
    assertEquals(unused, []);
  });
  await t.step({
    ...stepWith("promtool", "promtool takes every page"),
    fn: async () => {
      for (const stdin of texts) {
        const { code, stdout, stderr } = await run("promtool", {
          args: ["check", "metrics"],
          stdin,
        });
        assertEquals([code, stdout + stderr], [0, ""], stdin);
      }
    },
  });
});

Deno.test({
  ...stepWith(
    "promtool",
    "promtool takes the alerts, which fire when they should, and every question of the board",
  ),
  fn: async () => {
    await using dir = await tempDir();
    const rules = (await expressions()).map((expr, i) => {
      const plain = expr.replaceAll("$__rate_interval", "5m");
      return `      - record: x:${i}\n        expr: ${JSON.stringify(plain)}\n`;
    });
    await Deno.writeTextFile(
      dir.file("board.yml"),
      `groups:\n  - name: board\n    rules:\n${rules.join("")}`,
    );
    const given = [
      ["check", "rules", `${FOLDER}alerts.yml`, dir.file("board.yml")],
      ["test", "rules", `${FOLDER}alerts_test.yml`],
    ];
    for (const args of given) {
      const { code, stdout, stderr } = await run("promtool", { args });
      assertEquals(code, 0, stdout + stderr);
    }
  },
});
