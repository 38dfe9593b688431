/** What new_task puts on the wire, and how it deals with its three streams. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { AMQPProperties } from "@cloudamqp/amqp-client/amqp-properties";
import { permissionsOf } from "../../scripts/tasks.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { bytesOf, look, onChannel, takeAll, takeOne, waitForReady } from "./queue_view.ts";
import { finish, finishInShell, forEachRow, send, start } from "./tools.ts";

const node = await sharedNode();
const BINARY = Uint8Array.from({ length: 256 }, (_, i) => i);
const LONG = "n".repeat(255);

interface Words {
  readonly args: readonly string[];
  readonly body: string;
}

brokerTest("words come through unchanged, whatever they look like", async () => {
  const rows: Words[] = [
    { args: ["--", "--queue", "-x", "--", "-"], body: "--queue -x -- -" },
    { args: ["--", "-"], body: "-" },
    { args: ["a", "--quiet", "b", "--", "--quiet"], body: "a b --quiet" },
    { args: ["-", "and more"], body: "- and more" },
    { args: ["", ""], body: " " },
    { args: ["true", "007", "1e3", "-"], body: "true 007 1e3 -" },
    { args: ["a\nb\x1b[31m\u202e"], body: "a\nb\x1b[31m\u202e" },
    { args: ["\ufeff\u{1f407}e\u0301"], body: "\ufeff\u{1f407}e\u0301" },
    { args: ["x".repeat(100_000)], body: "x".repeat(100_000) },
  ];
  await forEachRow(rows, ({ args }) => args.join(" ").slice(0, 40), async ({ args, body }) => {
    const target = { url: node.url, queue: uniqueName("words") };
    await send(args, target);
    assertEquals(bytesOf(await takeOne(target.url, target.queue)), new TextEncoder().encode(body));
  });
});

interface Options {
  readonly args: readonly string[];
  readonly properties: Partial<AMQPProperties>;
}

brokerTest("every option of a task arrives as its property", async () => {
  const rows: Options[] = [
    { args: ["--id", "an id"], properties: { messageId: "an id" } },
    { args: [`--id=${LONG}`], properties: { messageId: LONG } },
    { args: ["--priority", "1"], properties: { priority: 1 } },
    { args: ["--priority", "255"], properties: { priority: 255 } },
    { args: ["--priority", "x", "--priority", "007"], properties: { priority: 7 } },
    { args: ["--expiration", "90000"], properties: { expiration: "90000" } },
    { args: ["--expiration", "4294967295"], properties: { expiration: "4294967295" } },
    { args: ["--expiration", "1.5m"], properties: { expiration: "90000" } },
    { args: ["--correlation-id", LONG], properties: { correlationId: LONG } },
    { args: ["--reply-to", "answers"], properties: { replyTo: "answers" } },
    { args: ["--type", "\u00e4 type"], properties: { type: "\u00e4 type" } },
    { args: ["--content-type", "a/b"], properties: { contentType: "a/b" } },
    {
      args: ["--header", "a=b=c", "--header=d=", "--header", "a=e", "--header", "constructor=x"],
      properties: { headers: { a: "e", d: "", constructor: "x" } },
    },
    {
      args: ["--header", `${LONG}=1`, "--header=-x= 007 "],
      properties: { headers: { [LONG]: "1", "-x": " 007 " } },
    },
  ];
  await forEachRow(rows, ({ args }) => args.join(" "), async ({ args, properties }) => {
    const target = { url: node.url, queue: uniqueName("options") };
    // Of an option given twice the last one counts, even when the first one is no number.
    await send([...args, "x"], target);
    const seen = (await takeOne(target.url, target.queue)).properties;
    const { "x-delivery-count": _, ...headers } = seen.headers ?? {};
    const wanted = { contentType: "text/plain", deliveryMode: 2, ...properties };
    const { headers: wantedHeaders = {}, ...rest } = wanted;
    for (const [key, value] of Object.entries(rest)) {
      assertEquals(seen[key as keyof AMQPProperties], value, key);
    }
    assertEquals(Object.entries(headers).sort(), Object.entries(wantedHeaders).sort());
  });
});

brokerTest("a file or stdin is sent byte for byte, as octets", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(dir.file("binary"), BINARY);
  await Deno.writeFile(dir.file("empty"), new Uint8Array());
  const rows: { args: readonly string[]; stdin?: Uint8Array; body: Uint8Array }[] = [
    { args: ["--file", dir.file("binary")], body: BINARY },
    { args: ["--file", dir.file("empty")], body: new Uint8Array() },
    { args: ["-"], stdin: BINARY, body: BINARY },
    { args: ["--file", "-"], stdin: BINARY, body: BINARY },
    { args: ["--file=-"], stdin: new Uint8Array(), body: new Uint8Array() },
  ];
  await forEachRow(rows, ({ args }) => args.join(" "), async ({ args, stdin, body }) => {
    const target = { url: node.url, queue: uniqueName("bytes") };
    const { stdout } = await send(args, { ...target, ...(stdin ? { stdin } : {}) });
    assertEquals(stdout, ` [x] Sent ${body.length} bytes\n`);
    const message = await takeOne(target.url, target.queue);
    assertEquals(bytesOf(message), body);
    assertEquals(message.properties.contentType, "application/octet-stream");
  });
});

brokerTest("20 MB through a pipe in pieces arrive whole", async () => {
  const target = { url: node.url, queue: uniqueName("large") };
  const body = new Uint8Array(20_000_003);
  for (let i = 0; i < body.length; i += 65536) {
    crypto.getRandomValues(body.subarray(i, Math.min(i + 65536, body.length)));
  }
  const { stdout } = await send(["--timeout", "15s", "-"], { ...target, stdin: body });
  assertEquals(stdout, " [x] Sent 20000003 bytes\n");
  const received = bytesOf(await takeOne(target.url, target.queue));
  const digest = (bytes: Uint8Array) => crypto.subtle.digest("SHA-256", bytes as BufferSource);
  assertEquals(new Uint8Array(await digest(received)), new Uint8Array(await digest(body)));
});

brokerTest(
  "--quiet prints nothing, and control characters are escaped only on the screen",
  async () => {
    const target = { url: node.url, queue: uniqueName("quiet") };
    assertEquals((await send(["--quiet", "x"], target)).stdout, "");
    const shown = await send(["a\nb\x1b[2J\u202e"], target);
    assertEquals(shown.stdout, " [x] Sent a\\nb\\u{1b}[2J\\u{202e}\n");
    assertEquals((await takeAll(target.url, target.queue)).map((task) => task.bodyToString()), [
      "x",
      "a\nb\x1b[2J\u202e",
    ]);
  },
);

brokerTest("a confirmed task counts, even when its line cannot be printed", async () => {
  const queue = uniqueName("streams");
  const lines: [string, RegExp][] = [
    ['"$@" >/dev/full', /^new_task: stdout cannot be written any more: no space left on device\n$/],
    ['("$@"; echo $? >&2) | true', /0\n$/],
    ['"$@" >&-', /^$/],
    ['"$@" 2>&-', /^$/],
    ['"$@" 2>/dev/full', /^$/],
    ['"$@" <&- >&- 2>&-', /^$/],
  ];
  await forEachRow(lines, ([line]) => line, async ([line, stderr]) => {
    const output = await finishInShell(line, "new_task", ["x"], node.url, queue);
    assertEquals(output.code, 0, output.stderr);
    assertMatch(output.stderr, stderr);
  });
  await waitUntil("every task to be there", async () => {
    return (await look(node.url, queue)).ready === lines.length;
  });
});

Deno.test("a refusal keeps its status when stderr is closed or full", async () => {
  for (const line of ['"$@" 2>&-', '"$@" 2>/dev/full']) {
    const { code } = await finishInShell(line, "new_task", ["--bogus"], node.url);
    assertEquals(code, 64);
  }
});

Deno.test("--help and --version need neither a broker nor a sound command line", async () => {
  const broken = { url: "nonsense", queue: "n".repeat(256) };
  for (const tool of ["new_task", "worker"] as const) {
    const help = await finish(tool, ["--timeout=x", "--bogus", "--help"], broken);
    assertEquals([help.code, help.stderr], [0, ""]);
    assertMatch(help.stdout, new RegExp(`^Usage: ${tool} `));
    assert(help.stdout.split("\n").every((line) => line.length <= 100));
    const version = await finish(tool, ["--version", "garbage"], broken);
    assertEquals([version.code, version.stderr], [0, ""]);
    assertMatch(version.stdout, new RegExp(`^${tool} \\d+\\.\\d+\\.\\d+ \\([^()]+\\)\n$`));
  }
});

Deno.test("new_task may use the network, files and five variables, and never prompts", () => {
  assertEquals(permissionsOf("new_task"), [
    "--no-prompt",
    "--unstable-lazy-dynamic-imports",
    "--v8-flags=--no-lazy,--no-sparkplug,--min-semi-space-size=2,--max-semi-space-size=2",
    "--allow-net",
    "--allow-read",
    "--allow-write",
    "--allow-env=AMQP_URL,WORK_QUEUE,TRACEPARENT,TRACESTATE,TZ",
  ]);
});

brokerTest("a password comes from a file, and replaces the one in the URL", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.file("password"), "guest\r\n");
  const target = { url: node.url.replace("guest:guest", "guest:wrong"), queue: uniqueName("pw") };
  await send(["--password-file", dir.file("password"), "x"], target);
  await waitForReady(node.url, target.queue, 1);
});

brokerTest(
  "a task goes to the next address when the first is dead, silent or refuses",
  async () => {
    using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const firsts = [
      "amqp://guest:guest@127.0.0.1:1/",
      `amqp://guest:guest@127.0.0.1:${silent.addr.port}/`,
      node.url.replace("guest:guest", "guest:wrong"),
    ];
    await forEachRow(firsts, (first) => first, async (first) => {
      const queue = uniqueName("failover");
      const url = `${first},${node.url}`;
      const sent = await finish("new_task", ["--timeout", "6s", "x"], { url, queue });
      assertEquals([sent.code, sent.stdout], [0, " [x] Sent x\n"], sent.stderr);
      await waitForReady(node.url, queue, 1);
    });
  },
);

brokerTest("SIGINT and SIGTERM end new_task while it waits for a broker", async () => {
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    const url = `amqp://guest:guest@127.0.0.1:${silent.addr.port}/`;
    await using sender = start("new_task", ["x"], { url });
    using _conn = await silent.accept();
    sender.kill(signal);
    const ended = await sender.ended();
    assertEquals([ended.signal, ended.stdout], [signal, ""]);
  }
});

brokerTest("a queue that rejects what does not fit refuses the task with 75", async () => {
  const target = { url: node.url, queue: uniqueName("full") };
  await onChannel(node.url, (channel) =>
    channel.queueDeclare(target.queue, { durable: true }, {
      "x-max-length": 1,
      "x-overflow": "reject-publish",
    }));
  await send(["first"], target);
  const refused = await finish("new_task", ["second"], target);
  assertEquals([refused.code, refused.stdout], [75, ""]);
  assertEquals(
    refused.stderr,
    "new_task: the broker refused the task (basic.nack): it is not queued\n",
  );
});
