/** `worker queues` asks the API of the page where it is, and the broker where it is not. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { QueuePage } from "../../src/cli/queue_page.ts";
import { freePorts } from "../support/ports.ts";
import { run } from "../support/process.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { toolCommand } from "../support/tools.ts";
import { waitUntil } from "../support/wait.ts";
import { QueueBench } from "../worker/bench.ts";
import { at, Paged } from "./paged.ts";

/** The cells of the table that it prints, a row each. */
async function table(url: string, ...args: string[]): Promise<Record<string, string>[]> {
  const { code, stdout, stderr } = await queues(url, ...args);
  assertEquals([code, stderr], [0, ""]);
  const [head, ...rows] = stdout.trimEnd().split("\n").map((line) => line.split(/ +/));
  return rows.map((row) => Object.fromEntries(row.map((cell, i) => [head![i]!, cell])));
}

async function queues(url: string, ...args: string[]) {
  const [command, ...rest] = toolCommand("worker", ["queues", ...args]);
  return await run(command, {
    args: rest,
    env: { AMQP_URL: url, HTTP_PROXY: "http://127.0.0.1:9" },
  });
}

Deno.test("worker queues says what the page of the broker on this machine knows", async () => {
  await using paged = await Paged.start();
  const { url } = paged.broker;
  await using bench = await QueueBench.open(url);
  const [paused, delay] = [uniqueName("held"), `${bench.name}.delay.1234567`];
  await paged.send(paused, { body: "waits" });
  await paged.put(`${at(paused)}/paused`, { paused: true });
  await paged.send(bench.name, { body: "runs" }, { body: "waits" });
  await paged.send(delay, { body: "later" });
  const channel = await bench.transport.openChannel();
  await channel.basicGet(bench.name, { noAck: false });
  const names = `${bench.name},${paused},none,${delay}`;
  const rows = await waitUntil("the first look at how long they wait", async () => {
    const rows = await table(url, "-q", names);
    return rows.every(({ oldest, ready }) => oldest !== "-" || ready !== "1") ? rows : undefined;
  });
  assertEquals(
    rows.map((row) => [row["queue"], row["ready"], row["consumers"], row["unacked"]]),
    [
      [bench.name, "1", "0", "1"],
      [delay, "1", "0", "0"],
      [paused, "1", "paused", "0"],
      ["none", "missing", "-", "-"],
      [delay, "1", "0", "0"],
    ],
  );
  assertMatch(rows[0]!["oldest"]!, /^\d+s$/);
  assertMatch(rows[0]!["in/s"]!, /^\d+\.\d$/);
  // None is named: all that there are, what belongs together in one place.
  const all = await table(url);
  assertEquals(all.map((row) => row["queue"]), [bench.name, delay, paused].sort());
  // For programs, names are as they are, and no terminal is steered by them.
  const odd = `${uniqueName("odd")} "\u009b,=\u202e`;
  await paged.send(odd, { body: "waits" });
  const json = await queues(url, "--json", "-q", odd.replace(/[,=]/g, "\\$&"), "-q", "none");
  assertEquals([json.code, json.stderr], [0, ""]);
  assert(/^[\x20-\x7e\n]+$/.test(json.stdout), json.stdout);
  const [first, second, ...more] = json.stdout.trimEnd().split("\n").map((line) =>
    JSON.parse(line)
  );
  const { in: arriving, out, oldest_at: _since, ...known } = first;
  assertEquals(known, { queue: odd, ready: 1, consumers: 0, unacked: 0 });
  assertEquals([typeof arriving, typeof out], ["number", "number"]);
  assertEquals([second, more], [{ queue: "none", state: "missing" }, []]);
  // What it says when the page is another broker's: nothing.
  const other = new QueuePage({ url: paged.url, names: [bench.name], vhost: "/" });
  assertEquals(await other.isOf("another one"), false);
  await other.close();
});

Deno.test("worker queues asks the page that is named, with its token, and not the broker", async () => {
  await using folder = await tempDir();
  const tokenFile = `${folder.path}/token`;
  await Deno.writeTextFile(tokenFile, "s3cret\nother\n");
  await using paged = await Paged.start("--token-file", tokenFile);
  const queue = uniqueName("named");
  const headers = { authorization: "Bearer s3cret" };
  const sent = await paged.ask("POST", `/api/v1${at(queue)}/messages`, { body: "x" }, headers);
  assertEquals(sent.status, 200);
  const nobody = `amqp://127.0.0.1:${(await freePorts(1))[0]}`;
  const api = ["-q", queue, "--api", `${paged.url}/`];
  const [row] = await table(nobody, ...api, "--token-file", tokenFile);
  assertEquals([row!["queue"], row!["ready"], row!["unacked"]], [queue, "1", "0"]);

  await Deno.writeTextFile(tokenFile, "wrong");
  const refused = [
    [["--api", `http://127.0.0.1:${paged.broker.port}`], 75, /cannot ask the page at/], // AMQP
    [[], 77, /must be asked with its token \(--token-file\), and got none$/m],
    [["--token-file", `${folder.path}/none`], 66, /cannot read the token file/],
  ] as const;
  for (const [args, status, sentence] of refused) {
    const { code, stderr } = await queues(nobody, ...api, ...args);
    assertEquals(code, status, stderr);
    assertMatch(stderr, sentence);
  }
  // Without --api the broker does not tell where its page is: nobody has the token by himself.
  assertEquals((await table(paged.broker.url, "-q", queue))[0], {
    ...{ queue, ready: "1", consumers: "0" },
  });
  const json = await queues(paged.broker.url, "-q", queue, "--json");
  assertEquals(JSON.parse(json.stdout), { queue, ready: 1, consumers: 0 });
  const unnamed = await queues(paged.broker.url);
  assertMatch(unnamed.stdout, /^queue +ready +consumers\ntask_queue +missing +-\n$/);
  assertMatch(unnamed.stderr, /^\S+ worker: AMQP cannot list queues: --queue names others/);
});

Deno.test("worker queues says what is no page", async () => {
  const [port] = await freePorts(1);
  const cases = [
    [["--api", "http://ann:secret@host"], 64, /must be an http:\/\/ or https:\/\/ URL without a/],
    [["--token-file", "x"], 64, /--token-file needs --api/],
    [["--api", `http://127.0.0.1:${port}`], 75, /cannot ask the page at/],
  ] as const;
  for (const [args, status, sentence] of cases) {
    const { code, stderr } = await queues(`amqp://127.0.0.1:${port}`, ...args);
    assertEquals(code, status, stderr);
    assertMatch(stderr, sentence);
    assert(!stderr.includes("secret"), stderr);
  }
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    ({ url }) =>
      url.includes("moved")
        ? Response.redirect(`http://127.0.0.1:${port}/`)
        : new Response('{"queues": "none"}', { status: url.includes("teapot") ? 418 : 200 }),
  );
  for (const path of ["", "moved", "teapot"]) {
    const page = new QueuePage({
      url: `http://127.0.0.1:${server.addr.port}/${path}`,
      names: ["q"],
      vhost: "/",
    });
    await assertRejects(() => page.rows(), Error, "--api must be the page of our broker");
    await page.close();
  }
});
