/** Tasks on a schedule: new_task --cron and --schedule. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { Proxy } from "../support/proxy.ts";
import type { TestProcess } from "../support/process.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { look, takeAll } from "./queue_view.ts";
import { finish, forEachRow, start } from "./tools.ts";

const node = await sharedNode();
/** A slot that is so late is missed. */
const MISSED_S = 10;
const EVERY_SECOND = { cron: "* * * * *", second: "*" };

function ids(process: TestProcess): string[] {
  const prefix = " [x] Sent ";
  return process.stdout.filter((line) => line.startsWith(prefix))
    .map((line) => line.slice(prefix.length));
}

/** The second of an id, since 1970. */
function secondOf(id: string): number {
  return Date.parse(id.slice(-"2027-01-31T08:00:00Z".length)) / 1_000;
}

async function messageIds(queue: string, url = node.url): Promise<string[]> {
  return (await takeAll(url, queue)).map(({ properties }) => properties.messageId!);
}

async function writeSchedules(path: string, ...records: object[]): Promise<void> {
  await Deno.writeTextFile(path, records.map((record) => JSON.stringify(record) + "\n").join(""));
}

brokerTest("two schedulers send every slot with the same ids", async () => {
  await using dir = await tempDir("schedule-");
  const queue = uniqueName("schedule");
  const target = { url: node.url, queue };
  const record = { ...EVERY_SECOND, json: { a: 1, b: [2] }, headers: { x: 1, y: 2 } };
  const { headers, ...rest } = record;
  await writeSchedules(dir.file("a"), record);
  // The same in other words.
  await writeSchedules(dir.file("b"), { headers: { y: 2, x: 1 }, ...rest, queue, second: "*" });
  assertEquals(headers, { x: 1, y: 2 });
  await using a = start("new_task", ["--schedule", dir.file("a")], target);
  await using b = start("new_task", ["--schedule", dir.file("b")], { url: node.url });
  await waitUntil("three slots each", () => ids(a).length >= 3 && ids(b).length >= 3);
  for (const each of [a, b]) {
    each.kill("SIGTERM");
    assertEquals([(await each.ended()).code, each.stderr], [0, []]);
  }
  const seconds = ids(a).map(secondOf);
  assertEquals(seconds, seconds.map((_, i) => seconds[0]! + i));
  assert(ids(a).some((id) => ids(b).includes(id)), `${ids(a)} and ${ids(b)}`);
  assertEquals((await messageIds(queue)).sort(), [...ids(a), ...ids(b)].sort());
});

brokerTest(
  "killed at any time and started again, it leaves out no slot that its state has",
  async () => {
    await using dir = await tempDir("schedule-");
    const target = { url: node.url, queue: uniqueName("schedule-killed") };
    await writeSchedules(dir.file("s"), { ...EVERY_SECOND, id: "k", body: "a" });
    const args = ["--schedule", dir.file("s"), "--state", dir.file("state")];
    const seen = new Set<string>();
    let missed = false;
    for (let i = 0; i < 3; i++) {
      await using process = start("new_task", args, target);
      await waitUntil("a slot", () => ids(process).length >= 1);
      // On a machine that is very busy it starts so late that slots are over by then.
      const [reached = Infinity] = [...seen].map(secondOf).sort((a, b) => b - a);
      missed ||= Date.now() / 1_000 - reached > MISSED_S;
      process.kill(i === 2 ? "SIGINT" : "SIGKILL");
      await process.ended();
      for (const id of await messageIds(target.queue)) seen.add(id);
    }
    const seconds = [...seen].map(secondOf).sort((a, b) => a - b);
    if (!missed) assertEquals(seconds, seconds.map((_, i) => seconds[0]! + i));
    const state = JSON.parse(await Deno.readTextFile(dir.file("state")));
    assertEquals(Date.parse(state.slots.k) / 1_000, seconds.at(-1));
  },
);

brokerTest("what was missed is left out, or sent once: the last of it", async () => {
  await using dir = await tempDir("schedule-");
  const target = { url: node.url, queue: uniqueName("schedule-missed") };
  await writeSchedules(dir.file("s"), { cron: "0 0 1 1 *", timezone: "UTC", id: "y", body: "a" });
  const slots = { y: "2019-01-01T00:00:00.000Z" };
  for (const [missed, sent] of [["skip", 0], ["once", 1]] as const) {
    await Deno.writeTextFile(dir.file("state"), JSON.stringify({ version: 1, slots }));
    const args = ["--schedule", dir.file("s"), "--state", dir.file("state"), "--missed", missed];
    await using process = start("new_task", args, target);
    await process.waitForLog(/slots were missed/);
    const last = new Date(Date.UTC(new Date().getUTCFullYear(), 0, 1)).toISOString();
    await waitUntil("the state", async () => {
      return JSON.parse(await Deno.readTextFile(dir.file("state"))).slots.y === last;
    });
    process.kill("SIGTERM");
    assertEquals((await process.ended()).code, 0);
    const found = await messageIds(target.queue);
    assertEquals(found, sent === 0 ? [] : [`y-${last.replace(".000Z", "Z")}`]);
  }
});

brokerTest("a slot is sent when the broker is back, and not written down before", async () => {
  await using dir = await tempDir("schedule-");
  await using proxy = await Proxy.start(node.port);
  const target = { url: proxy.url, queue: uniqueName("schedule-away") };
  await writeSchedules(dir.file("s"), { ...EVERY_SECOND, id: "k", body: "a" });
  const args = ["--schedule", dir.file("s"), "--state", dir.file("state"), "--timeout", "1s"];
  await using process = start("new_task", args, target);
  await waitUntil("a slot", () => ids(process).length >= 1);
  proxy.blackHole("toClient");
  await process.waitForLog(/not confirmed yet/);
  const before = JSON.parse(await Deno.readTextFile(dir.file("state"))).slots.k;
  assert(Date.parse(before) / 1_000 <= secondOf(ids(process).at(-1)!) + 1);
  await proxy.cut();
  proxy.heal();
  const known = ids(process).length;
  await waitUntil("more slots", () => ids(process).length >= known + 3);
  process.kill("SIGTERM");
  assertEquals((await process.ended()).code, 0);
  const seconds = [...new Set(await messageIds(target.queue))].map(secondOf).sort((a, b) => a - b);
  // On a machine that is very busy it is away for longer than a slot may be late.
  const missed = process.stderr.some((line) => line.includes("slots were missed"));
  if (!missed) assertEquals(seconds, seconds.map((_, i) => seconds[0]! + i));
});

brokerTest("SIGHUP reads the file again, and keeps the old one when the new is none", async () => {
  await using dir = await tempDir("schedule-");
  const target = { url: node.url, queue: uniqueName("schedule-again") };
  await writeSchedules(dir.file("s"), { ...EVERY_SECOND, id: "old", body: "a" });
  await using process = start("new_task", ["--schedule", dir.file("s")], target);
  await waitUntil("a slot", () => ids(process).length >= 1);
  await Deno.writeTextFile(dir.file("s"), '{"cron": "* * * * *"}\n');
  process.kill("SIGHUP");
  await process.waitForLog(/the schedules stay as they were: .*line 1: a record must have one of/);
  const known = ids(process).length;
  await waitUntil("another slot", () => ids(process).length > known);
  await writeSchedules(dir.file("s"), { ...EVERY_SECOND, id: "new", body: "a" });
  process.kill("SIGHUP");
  await waitUntil("a new slot", () => ids(process).some((id) => id.startsWith("new-")));
  process.kill("SIGTERM");
  assertEquals((await process.ended()).code, 0);
});

brokerTest("--cron sends words, and waits for nothing when it is ended", async () => {
  const target = { url: node.url, queue: uniqueName("schedule-cron") };
  await using process = start("new_task", ["--cron", "@yearly", "--timezone", "UTC", "a"], target);
  await process.waitForLine(/^ \[\*\] Sending by 1 schedule\. To exit press CTRL\+C$/);
  await process.waitForLine(
    /^ \[\*\] Next at \d{4}-01-01 00:00:00 \(UTC\), \d{4}-01-01T00:00:00.000Z$/,
  );
  process.kill("SIGHUP");
  const { code, stderr } = await process.ended();
  assertEquals([code, stderr], [0, ""]);
  assertEquals((await look(node.url, target.queue)).ready, 0);
});

brokerTest("a host's time zone that is a rule is no time zone of a schedule", async () => {
  const target = {
    url: node.url,
    queue: uniqueName("schedule-zone"),
    env: { TZ: "CET-1CEST,M3.5.0,M10.5.0/3" },
  };
  const { code, stderr } = await finish("new_task", ["--cron", "0 7 * * *", "a"], target);
  assertEquals(code, 64, stderr);
  assertMatch(stderr, /must be one by its name, and is "CET-1CEST.*" \(TZ\): --timezone names one/);
  const args = ["--cron", "0 7 * * *", "--timezone", "Asia/Kolkata", "a"];
  await using process = start("new_task", args, target);
  await process.waitForLine(/Next at .* 07:00:00 \(Asia\/Kolkata\), .*T01:30:00\.000Z$/);
  process.kill("SIGTERM");
  assertEquals((await process.ended()).code, 0);
});

brokerTest("a schedule that is none is refused in one sentence, and nothing is sent", async () => {
  await using dir = await tempDir("schedule-");
  const queue = uniqueName("schedule-bad");
  const lines: [string, RegExp][] = [
    ['{"body": "a"}', /line 1: a record must have cron in a schedule, and has none$/],
    ['{"cron": "* * * * * *", "body": "a"}', /line 1: cron must have five fields .*\* \*"$/],
    ['{"cron": "* * * *", "body": "a"}', /line 1: cron must have five fields /],
    ['{"cron": "61 * * * *", "body": "a"}', /line 1: cron must be a cron line, and is "61 .*: /],
    ['{"cron": "0 0 32 * *", "body": "a"}', /line 1: .* Invalid value for day: 32$/],
    ['{"cron": "0 0 1 13 *", "body": "a"}', /line 1: .* Invalid value for month: 13$/],
    ['{"cron": "0 0 31 2 *", "body": "a"}', /line 1: cron must come within ten years, and is /],
    ['{"cron": "@reboot", "body": "a"}', /line 1: cron must be a cron line, and is "@reboot": /],
    ['{"cron": 5, "body": "a"}', /line 1: cron must be text, and is 5$/],
    ['{"cron": "* * * * *", "second": "1 2", "body": "a"}', /line 1: second must be one field/],
    [
      '{"cron": "* * * * *", "second": 60, "body": "a"}',
      /line 1: second must be a field .* "60": /,
    ],
    [
      '{"cron": "* * * * *", "timezone": "Europe/Nowhere", "body": "a"}',
      /line 1: timezone must be the name of a time zone such as Europe\/Berlin, and is "Europe\/N/,
    ],
    ['{"cron": "* * * * *", "body": "a", "at": "2027-01-31T08:00Z"}', /line 1: at must be absent/],
    [`{"cron": "* * * * *", "body": "a", "id": "${"i".repeat(231)}"}`, /line 1: id must have at/],
    [
      '{"cron": "@daily", "body": "a"}\n{"body": "a", "cron": "@daily"}',
      /line 2: .* is there twice/,
    ],
    ["", /" must have a schedule, and has none$/],
    ["nonsense", /line 1: a record must be JSON, and is not: /],
  ];
  for (const [i, [text]] of lines.entries()) await Deno.writeTextFile(dir.file(`${i}`), text);
  await Deno.writeTextFile(dir.file("state"), "{}");
  await Deno.writeTextFile(dir.file("good"), '{"cron": "@daily", "body": "a"}');
  const rows: [string[], number, RegExp][] = [
    ...lines.map(([, says], i): [string[], number, RegExp] => [
      ["--schedule", dir.file(`${i}`)],
      65,
      says,
    ]),
    [["--schedule", dir.file("nothing")], 66, /^new_task: cannot read the file /],
    [
      ["--schedule", dir.file("good"), "--state", dir.file("state")],
      65,
      /must be one that --state/,
    ],
    [["--schedule", dir.file("good"), "--state", dir.file("no/x")], 66, /cannot write the state/],
    [["--cron", "* * * * * *", "a"], 64, /^new_task: --cron must have five fields /],
    [["--cron", "* * * * *", "--timezone", "X", "a"], 64, /^new_task: --timezone must be the name/],
    [["--cron", "@daily", "--schedule", "x"], 64, /one of --cron and --schedule/],
    [["--cron", "@daily", "--at", "2027-01-31T08:00Z"], 64, /--at is for a task that is sent once/],
    [["--cron", "@daily", "--lines"], 64, /comes from words or records/],
    [["--cron", "@daily", "--missed", "once"], 64, /--missed once needs --state/],
    [["--schedule", "x", "word"], 64, /words were given/],
    [["--timezone", "UTC", "word"], 64, /--timezone needs --cron or --schedule/],
  ];
  await forEachRow(rows, ([args]) => args.join(" "), async ([args, code, says]) => {
    const output = await finish("new_task", args, { url: node.url, queue });
    const { stdout, stderr } = output;
    assertEquals([output.code, stdout, stderr.split("\n").length], [code, "", 2], stderr);
    assertMatch(stderr.trimEnd(), says);
  });
  await look(node.url, queue).then(() => assert(false, "the queue was made"), () => {});
});
