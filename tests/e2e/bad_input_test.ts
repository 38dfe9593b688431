/** Every mistake of a user is one sentence on stderr, the right status, and nothing sent. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { type Output, run } from "../support/process.ts";
import { ScriptedServer } from "../support/scripted_server.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { byThisDeno } from "../support/tools.ts";
import { look, onChannel, takeAll, takeOne } from "./queue_view.ts";
import { finish, finishInShell, forEachRow, type Tool, type ToolOptions } from "./tools.ts";

interface Row extends ToolOptions {
  /** Default: both. */
  readonly tool?: Tool;
  readonly args?: readonly string[];
  readonly code: number;
  /** What follows `new_task: ` or `worker: `; {tool} is the tool's name. */
  readonly says: string | RegExp;
}

const TEXT = new TextEncoder();
/** In every password here; never to be seen again. */
const SECRET = "sekret";
const NOBODY = "amqp://guest:sekret@127.0.0.1:1/";

const node = await sharedNode();
const at = `127.0.0.1:${node.port}`;

function check(tool: Tool, { says, code }: Row, { stdout, stderr, code: ended }: Output): void {
  assertEquals(ended, code, stderr);
  assertEquals(stdout, "");
  const prefix = `${tool}: `;
  assert(stderr.startsWith(prefix) && stderr.endsWith("\n"), stderr);
  const sentence = stderr.slice(prefix.length, -1);
  if (says instanceof RegExp) assert(says.test(sentence), sentence);
  else assertEquals(sentence, says.replaceAll("{tool}", tool));
  assert(!sentence.includes("\n"), `more than one line: ${stderr}`);
  assert(!stderr.includes(SECRET), `the password was printed: ${stderr}`);
}

async function checkAll(rows: readonly Row[]): Promise<void> {
  const runs = rows.flatMap((row) =>
    (row.tool ? [row.tool] : ["new_task", "worker"] as const).map((tool) => ({ tool, row }))
  );
  await forEachRow(
    runs,
    ({ tool, row }) => `${tool} ${row.args?.join(" ") ?? ""} with AMQP_URL=${row.url}`,
    async ({ tool, row }) => check(tool, row, await finish(tool, row.args ?? [], row)),
  );
}

Deno.test("a wrong command line is refused with 64 before anything is tried", async () => {
  const long = "n".repeat(256);
  const rows: Omit<Row, "code" | "url">[] = [
    { args: ["--bogus"], says: 'the option "--bogus" is not known; --help all lists them' },
    { args: ["-hx"], says: 'the option "-hx" is not known; --help all lists them' },
    { args: ["--uurl", NOBODY], says: 'the option "--uurl" is not known; did you mean --url?' },
    {
      args: [`--ulr${NOBODY}`],
      says: 'the option "--ulramqp://guest:***@127.0.0.1:1/" is not known; --help all lists them',
    },
    { tool: "new_task", args: ["--queue"], says: "--queue needs a value (NAME)" },
    { args: ["--queue="], says: "--queue must have names of 1 to 238 bytes, and one has 0" },
    {
      args: ["--queue", long],
      says: "--queue must have names of 1 to 238 bytes, and one has 256",
    },
    { queue: long, says: "WORK_QUEUE must have names of 1 to 238 bytes, and one has 256" },
    { tool: "worker", args: ["--queue"], says: "--queue needs a value (NAME[,NAME])" },
    { args: ["--no-declare=1"], says: "--no-declare is a switch and takes no value" },
    {
      args: ["--queue-type", "stream"],
      says: '--queue-type must be quorum or classic, and is "stream"',
    },
    {
      tool: "worker",
      args: ["--concurrency", "0"],
      says: '--concurrency must be a whole number from 1 to 65535, and is "0"',
    },
    { tool: "worker", args: ["--"], says: '"--" needs a command after it' },
    {
      tool: "worker",
      args: ["--handler", "x.ts", "--cwd", "/"],
      says: "--cwd is for a command or --shell, and none is given",
    },
    {
      tool: "worker",
      args: ["--limit-exit-code", "9"],
      says: "--limit-exit-code needs --exit-when-empty, --idle-timeout, --max-tasks, " +
        "--max-runtime or --max-memory, and none is given",
    },
    {
      tool: "new_task",
      args: ["--progress", "x"],
      says: "--progress needs --wait, and it is not given",
    },
    {
      tool: "worker",
      args: ["dead"],
      says: "worker dead needs ls, show, replay or purge, and was given none",
    },
    {
      tool: "worker",
      args: ["--shell", " "],
      says: "--shell must have a command line for the shell, and is blank",
    },
    {
      tool: "worker",
      args: ["--grace", "1e3"],
      says: '--grace must be a time such as 500ms, 5s or 25m, from 0 ms to 24 d, and is "1e3"',
    },
    {
      tool: "new_task",
      args: ["--priorty", "1"],
      says: 'the option "--priorty" is not known; did you mean --priority?',
    },
    ...["256", "1e3", "1.0", "", " 1", "0x1"].map((value): Omit<Row, "code" | "url"> => ({
      tool: "new_task",
      args: ["--priority", value],
      says: `--priority must be a whole number from 0 to 255, and is "${value}"`,
    })),
    {
      tool: "new_task",
      args: ["--priority", "-1"],
      says: '--priority needs a value (N); one that begins with "-" is written --priority=-1',
    },
    ...["0", "1000h", "", "5 x"].map((value): Omit<Row, "code" | "url"> => ({
      tool: "new_task",
      args: ["--timeout", value],
      says:
        `--timeout must be a time such as 500ms, 5s or 25m, from 1 ms to 24 d, and is "${value}"`,
    })),
    ...["0.5", "50d", "4294967296", "", "-5"].map((value): Omit<Row, "code" | "url"> => ({
      tool: "new_task",
      args: [`--expiration=${value}`],
      says: "--expiration must be a time such as 60000, 500ms or 5m of at most 49 days, and is " +
        `"${value}"`,
    })),
    ...["tomorrow", "2027-01-31T08:00", "2027-02-29T08:00Z", "9999-01-01T00:00Z"].map(
      (value): Omit<Row, "code" | "url"> => ({
        tool: "new_task",
        args: ["--at", value],
        says: "--at must be a date, a time and a zone such as 2027-01-31T08:00:00Z, at most ten " +
          `years from now, and is "${value}"`,
      }),
    ),
    ...["http", ":9100", "65536", "::1:9100", "a b:1", "-1"].map(
      (value): Omit<Row, "code" | "url"> => ({
        tool: "worker",
        args: [`--metrics=${value}`],
        says: "--metrics must be a port, or an address and a port such as 0.0.0.0:9100 or " +
          `[::]:9100, and is "${value}"`,
      }),
    ),
    {
      tool: "new_task",
      args: ["--lines", "word"],
      says: "with --lines the tasks come from --file or stdin, and words were given",
    },
    {
      tool: "new_task",
      args: ["--lines", "--ndjson"],
      says: "one of --lines and --ndjson can be had, and both were given",
    },
    {
      tool: "new_task",
      args: ["--files"],
      says: "--files needs the names of files, and has none",
    },
    {
      tool: "new_task",
      args: ["--files", "--file", "a", "b"],
      says: "with --files the words name the files, and --file was given",
    },
    {
      tool: "new_task",
      args: ["--skip", "3", "word"],
      says: "--skip needs one of --lines, --null, --ndjson and --files",
    },
    {
      tool: "new_task",
      args: ["--ndjson", "--content-type", "a/b"],
      says: "records say what type their content is, and --content-type was given",
    },
    {
      tool: "new_task",
      args: ["--delay", "3651d"],
      says: '--delay must be a time such as 500ms, 5s or 25m, from 0 ms to 3650 d, and is "3651d"',
    },
    {
      tool: "new_task",
      args: ["--delay", "1s", "--at", "2027-01-31T08:00Z"],
      says: "the time to run comes from --delay or from --at, and both were given",
    },
    {
      tool: "new_task",
      queue: "high=3,low",
      says:
        "WORK_QUEUE must name one queue here, without a part of a worker's concurrency, and is " +
        '"high=3,low"; in a name "," and "=" are written "\\," and "\\="',
    },
    {
      tool: "worker",
      args: ["dead", "ls"],
      queue: "a,b",
      says:
        "WORK_QUEUE must name one queue here, without a part of a worker's concurrency, and is " +
        '"a,b"; in a name "," and "=" are written "\\," and "\\="',
    },
    {
      args: ["--queue", "a\nb"],
      says: '--queue must have names without a line break, and one is "a\\nb"',
    },
    ...["a", "=b", `${long}=1`].map((value): Omit<Row, "code" | "url"> => ({
      tool: "new_task",
      args: ["--header", value],
      says: `--header must be KEY=VALUE with a key of 1 to 255 bytes, and is "${value}"`,
    })),
    ...["id", "type", "reply-to", "correlation-id", "content-type"].map((
      name,
    ): Omit<Row, "code" | "url"> => ({
      tool: "new_task",
      args: [`--${name}`, long],
      says: `--${name} must have ${name === "id" ? 1 : 0} to 255 bytes, and has 256`,
    })),
    {
      tool: "new_task",
      args: ["--file", "x", "word"],
      says: "the task comes from --file or from the words, and both were given",
    },
  ];
  await checkAll(rows.map((row) => ({ ...row, url: NOBODY, code: 64 })));
});

Deno.test("a wrong URL is refused with 64 and without its password", async () => {
  const urls: [string, string][] = [
    [" ", 'must begin with amqp:// or amqps://, and is ""'],
    ["localhost", 'must begin with amqp:// or amqps://, and is "localhost"'],
    ["http://u:sekret@h", 'must begin with amqp:// or amqps://, and is "http://u:***@h"'],
    ["amqp:/u:sekret@h", 'must begin with amqp:// or amqps://, and is "amqp:***@h"'],
    ["u:sekret@h", 'must begin with amqp:// or amqps://, and is "u:***@h"'],
    ["amqp://u:se%kret@h", 'must have a percent-encoded password, and is "amqp://u:***@h"'],
    [
      "amqp://u:sekret@h/a/b",
      'must have "/" inside a vhost written as %2F, and is "amqp://u:***@h/a/b"',
    ],
    [
      "amqp://u:sekret@h?heartbeat=-1",
      'must have heartbeat as a whole number from 0 to 65535, and has "-1"',
    ],
  ];
  const badHost = "must have host[:port] with a port from 1 to 65535, an IPv6 address in brackets";
  // A host that cannot be read may be the end of a password, so it is not shown whole.
  for (
    const [host, shown] of [
      ["h:0", "h:0"],
      ["h:99999", "h:99999"],
      ["h:x", "h..."],
      [
        "[::1",
        "[...",
      ],
      ["::1", "..."],
      ["h garbage", "h garbage"],
    ]
  ) {
    urls.push([`amqp://u:sekret@${host}`, `${badHost}, and is "amqp://u:***@${shown}"`]);
  }
  await checkAll(
    urls.map(([url, says]) => ({ tool: "worker", url, code: 64, says: `AMQP_URL ${says}` })),
  );
  for (const url of ["amqp//u:sekret@h", "amqp://u:sekr/et@h", "amqp://h,amqp//u:sekret@h"]) {
    const output = await finish("new_task", ["x"], { url });
    assertEquals([output.code, output.stderr.includes("sekr")], [64, false], output.stderr);
  }
});

Deno.test("an input that cannot be read is refused with 66, one that cannot be used with 65", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.file("two-lines"), "sekret\nsekret\n");
  await Deno.writeTextFile(dir.file("empty"), "");
  // What PowerShell writes unless told otherwise, and what an editor makes of "s\u00e9kret".
  await Deno.writeFile(dir.file("utf-16"), TEXT.encode("s\0e\0k\0r\0e\0t\0"));
  await Deno.writeFile(dir.file("latin-1"), Uint8Array.of(0x73, 0xe9, 0x6b));
  const missing = dir.file("missing");
  await checkAll([
    {
      tool: "new_task",
      args: ["--file", missing],
      code: 66,
      says: `cannot read the file "${missing}": no such file or directory`,
    },
    {
      tool: "new_task",
      args: ["--file", dir.path],
      code: 66,
      says: `cannot read the file "${dir.path}": is a directory`,
    },
    {
      tool: "new_task",
      args: ["--file", "/dev/stdin"],
      code: 66,
      says: 'cannot read the file "/dev/stdin": devices and system files are closed to this ' +
        'program; "-" is stdin',
    },
    { tool: "new_task", args: ["--file="], code: 66, says: /^cannot read the file "": / },
    {
      tool: "new_task",
      args: ["--file=-x"],
      code: 66,
      says: 'cannot read the file "-x": no such file or directory',
    },
    {
      tool: "new_task",
      args: ["a", "\ufffd"],
      code: 65,
      says: "a task given in words must be UTF-8 without U+FFFD, and is not: send it through " +
        "stdin or --file",
    },
    {
      args: ["--password-file", missing],
      code: 66,
      says: `cannot read the password file "${missing}": no such file or directory`,
    },
    {
      args: ["--password-file", dir.file("two-lines")],
      code: 65,
      says: `the password file "${dir.file("two-lines")}" must hold one line, and holds several`,
    },
    {
      args: ["--password-file", dir.file("empty")],
      code: 65,
      says: `the password file "${dir.file("empty")}" must hold one line, and is empty`,
    },
    ...["utf-16", "latin-1"].map((name) => ({
      args: ["--password-file", dir.file(name)],
      code: 65,
      says: `the password file "${dir.file(name)}" must be UTF-8 without NUL, and is not`,
    })),
    {
      url: `amqps://u:sekret@127.0.0.1:1/?cacertfile=${missing}`,
      code: 66,
      says: `cannot read the file "${missing}": no such file or directory`,
    },
    {
      args: ["--cacert", missing, "--tls-insecure"],
      url: "amqp://u:sekret@127.0.0.1:1/,amqp://127.0.0.1:2",
      code: 64,
      says:
        "AMQP_URL must have an amqps:// URL for --cacert and --tls-insecure, and has amqp:// only",
    },
    {
      args: ["--cert", dir.file("two-lines")],
      url: "amqps://u:sekret@127.0.0.1:1/",
      code: 65,
      says: "a client certificate needs both a certificate file and a key file, and one is missing",
    },
    {
      args: ["--cacert", dir.file("two-lines")],
      url: "amqps://u:sekret@127.0.0.1:1/",
      code: 65,
      says: `the file "${dir.file("two-lines")}" must be PEM, and has no "-----BEGIN" line`,
    },
  ].map((row) => ({ url: NOBODY, ...row }) as Row));
});

brokerTest("a stdin that is closed is no empty task", async () => {
  for (const args of [["-"], ["--file", "-"], ["--lines"]]) {
    for (const line of ['"$@" <&-', '"$@" </dev/null']) {
      const queue = uniqueName("closed");
      const { code, stdout, stderr } = await finishInShell(line, "new_task", args, node.url, queue);
      assertEquals([code, stdout], [66, ""], stderr);
      assertStringIncludes(stderr, "new_task: cannot read stdin: it is closed or /dev/null");
    }
  }
});

brokerTest("a stdin that is empty is an empty task", async () => {
  for (const args of [["-"], ["--file", "/dev/null"]]) {
    const queue = uniqueName("empty");
    const { code, stderr } = await finishInShell(': | "$@"', "new_task", args, node.url, queue);
    assertEquals([code, stderr], [0, ""]);
    assertEquals((await takeOne(node.url, queue)).body ?? new Uint8Array(), new Uint8Array());
  }
});

// Deno 2.4 opens a named pipe while nothing else can happen.
Deno.test({
  name: "a --file that nobody ends within --timeout is temporary" +
    (byThisDeno ? "" : " (ignored: not with Deno 2.4)"),
  ignore: !byThisDeno,
  fn: fileWithoutEnd,
});

async function fileWithoutEnd(): Promise<void> {
  await using dir = await tempDir();
  const path = dir.file("pipe");
  await run("mkfifo", { args: [path] });
  const args = ["--timeout", "300ms", "--file", path];
  const { code, stderr } = await finish("new_task", args, { url: NOBODY });
  assertEquals([code, stderr], [75, `new_task: cannot read the file "${path}" within 300 ms\n`]);
}

Deno.test("stdin that is a directory or has no end is refused", async () => {
  const [directory, endless] = await Promise.all(
    ["/", "/dev/zero"].map((stdin) => finishInShell(`"$@" <${stdin}`, "new_task", ["-"], NOBODY)),
  );
  check("new_task", { code: 66, says: "cannot read stdin: is a directory" }, directory!);
  check("new_task", {
    code: 65,
    says: "stdin must hold at most 536870912 bytes, and holds more",
  }, endless!);
});

Deno.test("a broker out of reach is temporary, and names the address and the cause", async () => {
  await checkAll([
    {
      tool: "new_task",
      args: ["x"],
      url: NOBODY,
      code: 75,
      says: "cannot connect to amqp://guest@127.0.0.1:1/: connection refused",
    },
    {
      tool: "new_task",
      args: ["x"],
      url: `${NOBODY},amqp://u:sekret@127.0.0.1:2/v%2Fh`,
      code: 75,
      says: "cannot connect to amqp://guest@127.0.0.1:1/: connection refused; " +
        "cannot connect to amqp://u@127.0.0.1:2/v%2Fh: connection refused",
    },
    {
      tool: "new_task",
      args: ["--timeout", "20s", "x"],
      url: "amqp://u:sekret@no.such.host.invalid/",
      // Where no resolver answers, that is known soon.
      env: { RES_OPTIONS: "attempts:1 timeout:1" },
      code: 75,
      says:
        /^cannot connect to amqp:\/\/u@no\.such\.host\.invalid:5672\/: failed to lookup address/,
    },
  ]);
});

Deno.test("a host that takes the connection and says nothing ends new_task at its --timeout", async () => {
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const url = `amqp://u:sekret@127.0.0.1:${silent.addr.port}/`;
  const output = await finish("new_task", ["--timeout", "300ms", "x"], { url });
  assertEquals(output.code, 75);
  assertStringIncludes(output.stderr, `amqp://u@127.0.0.1:${silent.addr.port}/`);
  assert(/(300 ms|0\.3 s)/.test(output.stderr), output.stderr);
  assert(!output.stderr.includes(SECRET) && output.stdout === "");
});

Deno.test("a server that is no AMQP broker is a protocol error", async () => {
  await using server = new ScriptedServer(async (peer) => {
    await peer.greeting.next();
    await peer.sendBytes(new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n"));
  });
  await checkAll([{
    url: server.url,
    code: 76,
    says: /^cannot connect to amqp:.*: AMQP 0-9-1 is required, and it answered "HTTP\/1\.1 400/,
  }]);
});

Deno.test("a variable that is not UTF-8 is refused with 64", async () => {
  for (const [tool, name] of [["new_task", "AMQP_URL"], ["worker", "WORK_QUEUE"]] as const) {
    const line = `${name}="$(printf 'amqp://\\377')" "$@"`;
    const { code, stderr } = await finishInShell(line, tool, ["x"], "amqp://127.0.0.1:1/");
    assertEquals({ code, stderr }, {
      code: 64,
      stderr: `${tool}: ${name} must be UTF-8, and is not\n`,
    });
  }
});

Deno.test("an option or a command that is not UTF-8 is refused with 64 instead of being changed", async () => {
  const rows: [Tool, string, string][] = [
    ["new_task", "--header=k=", "--header"],
    ["new_task", "--file=", "--file"],
    ["worker", "--queue=", "--queue"],
    ["worker", "", "the command"],
  ];
  await forEachRow(rows, ([tool, , what]) => `${tool} ${what}`, async ([tool, option, what]) => {
    const line = `"$@" "${option}$(printf '\\377')"`;
    const { code, stderr } = await finishInShell(line, tool, [], "amqp://127.0.0.1:1/");
    if ([1, 101].includes(code) && !byThisDeno) return; // Deno 2.4 itself ends so
    assertEquals({ code, stderr }, {
      code: 64,
      stderr: `${tool}: ${what} must be UTF-8 without U+FFFD, and is not\n`,
    });
  });
});

Deno.test("addresses that say nothing share the time, in whole milliseconds", async () => {
  await using silent = new ScriptedServer((peer) => peer.ended());
  await checkAll([{
    tool: "new_task",
    args: ["--timeout", "2s"],
    url: `${silent.url},${silent.url},amqp://127.0.0.1:1/`,
    code: 75,
    says: /: no answer within 667 ms; .*: no answer within 667 ms; .*: connection refused$/,
  }]);
});

brokerTest("when no address takes the task, the error says why of each", async () => {
  await checkAll([{
    url: `amqp://guest:sekret@${at}/,amqp://127.0.0.1:1/`,
    code: 75,
    tool: "new_task",
    says: new RegExp(
      `^cannot log in at amqp://guest@${at}/: ACCESS_REFUSED.*; cannot connect to amqp://.*:1/: conn`,
    ),
  }]);
});

brokerTest("TLS to a port without it is a protocol error", async () => {
  await checkAll(["", "?verify=verify_none"].map((query) => ({
    url: `amqps://${at}/${query}`,
    code: 76,
    says: `cannot connect to amqps://guest@${at}/: the server must speak TLS at this port, and ` +
      "does not; amqp:// is without TLS",
  })));
});

Deno.test("TLS to a port that closes the socket at once may be that of another protocol", async () => {
  using closing = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const served = (async () => {
    for await (const connection of closing) connection.close();
  })();
  await checkAll(["", "?verify=verify_none"].map((query) => ({
    tool: "new_task",
    url: `amqps://u:sekret@127.0.0.1:${closing.addr.port}/${query}`,
    code: 75,
    says:
      `cannot connect to amqps://u@127.0.0.1:${closing.addr.port}/: the server must speak TLS ` +
      "at this port, and closed the socket instead; amqp:// is without TLS",
  })));
  closing.close();
  await served;
});

brokerTest(
  "a refused login, a missing vhost and a forbidden queue end both tools with 77",
  async () => {
    const login = "cannot log in at amqp://";
    await checkAll([
      {
        url: `amqp://guest:sekret@${at}/`,
        code: 77,
        says: `${login}guest@${at}/: ACCESS_REFUSED - Login was refused using authentication ` +
          "mechanism PLAIN. For details see the broker logfile. (403)",
      },
      {
        url: `amqp://gu%40est:sekret@${at}/`,
        code: 77,
        says: /^cannot log in at amqp:\/\/gu%40est@.*ACCESS_REFUSED/,
      },
      {
        url: `${node.url}no-such-vhost`,
        code: 77,
        says:
          `${login}guest@${at}/no-such-vhost: NOT_ALLOWED - vhost no-such-vhost not found (530)`,
      },
      {
        url: node.url,
        queue: "amq.own",
        code: 77,
        says:
          "cannot create the queue \"amq.own\": ACCESS_REFUSED - queue name 'amq.own' contains " +
          "reserved prefix 'amq.*'",
      },
    ]);
  },
);

brokerTest(
  "a missing queue with --no-declare ends both tools with 69 and is not made",
  async () => {
    const queue = uniqueName("missing");
    const notFound =
      `cannot use the queue "${queue}": NOT_FOUND - no queue '${queue}' in vhost '/'`;
    await checkAll([
      { tool: "worker", args: ["--no-declare"], url: node.url, queue, code: 69, says: notFound },
      {
        tool: "new_task",
        args: ["--no-declare", "x"],
        url: node.url,
        queue,
        code: 69,
        says: `the broker returned the task: there is no queue "${queue}" (NO_ROUTE 312)`,
      },
      {
        tool: "new_task",
        args: ["--no-declare", "--queue-type", "quorum", "x"],
        url: node.url,
        queue,
        code: 69,
        says: notFound,
      },
    ]);
  },
);

brokerTest(
  "a property that the broker does not accept is bad data (65), and nothing is sent",
  async () => {
    const queue = uniqueName("refused");
    const refused = "the broker refused the task: PRECONDITION_FAILED - ";
    await checkAll([
      {
        args: ["--header", "CC=x"],
        says: `${refused}invalid message: {unacceptable_type_in_header,"CC",longstr}`,
      },
      {
        args: ["--reply-to", "amq.rabbitmq.reply-to"],
        says: `${refused}fast reply consumer does not exist`,
      },
    ].map((row) => ({ tool: "new_task", url: node.url, queue, code: 65, ...row })));
    assertEquals(await takeAll(node.url, queue), []);
  },
);

brokerTest("a queue is used as it is, unless another type is asked for (73)", async () => {
  const [quorum, classic] = [uniqueName("quorum"), uniqueName("classic")];
  await onChannel(node.url, async (channel) => {
    await channel.queueDeclare(quorum, { durable: true }, { "x-queue-type": "quorum" });
    await channel.queueDeclare(classic, { durable: true }, {});
  });
  await checkAll([
    {
      args: ["--queue-type", "classic"],
      url: node.url,
      queue: quorum,
      code: 73,
      says: /^the queue ".*" must be of the type classic, and is of another: PRECONDITION_FAILED/,
    },
    {
      args: ["--queue-type", "quorum"],
      url: node.url,
      queue: classic,
      code: 73,
      says: /^the queue ".*" must be of the type quorum, and is of another: PRECONDITION_FAILED/,
    },
  ]);
  for (const args of [["x"], ["--queue-type", "classic", "x"], ["--no-declare", "x"]]) {
    const { code, stderr } = await finish("new_task", args, { url: node.url, queue: classic });
    assertEquals([code, stderr], [0, ""]);
  }
  assertEquals((await look(node.url, classic)).ready, 3);
});

brokerTest("the type that is asked for is checked whatever else the queue has", async () => {
  const settings = {
    "x-dead-letter-exchange": "it's dead",
    "x-max-length": 5_000_000_000,
    "x-single-active-consumer": true,
    "x-overflow": "reject-publish",
  };
  const [quorum, classic] = [uniqueName("quorum"), uniqueName("classic")];
  await onChannel(node.url, async (channel) => {
    await channel.queueDeclare(
      quorum,
      { durable: true },
      { "x-queue-type": "quorum", "x-delivery-limit": 7, ...settings },
    );
    await channel.queueDeclare(
      classic,
      { durable: false, autoDelete: true },
      { ...settings, "x-max-priority": 3 },
    );
  });
  await checkAll(
    [[quorum, "classic"], [classic, "quorum"]].map(([queue, type]) => ({
      args: ["--queue-type", type!],
      url: node.url,
      queue: queue!,
      code: 73,
      says: new RegExp(`^the queue ".*" must be of the type ${type}, and is of another: `),
    })),
  );
  for (const [queue, type] of [[quorum, "quorum"], [classic, "classic"]] as const) {
    const { code, stderr } = await finish("new_task", ["--queue-type", type, "x"], {
      url: node.url,
      queue,
    });
    assertEquals([code, stderr], [0, ""]);
  }
});

brokerTest("a queue that belongs to another connection is temporary", async () => {
  const queue = uniqueName("exclusive");
  await onChannel(node.url, async (channel) => {
    await channel.queueDeclare(queue, { exclusive: true, durable: false });
    await checkAll([{
      url: node.url,
      queue,
      code: 75,
      says: /^cannot use the queue ".*": RESOURCE_LOCKED - cannot obtain exclusive access/,
    }]);
  });
});

brokerTest("a password on the command line is warned of and still not printed", async () => {
  const args = ["--url", `amqp://guest:sekret@${at}/`];
  for (const tool of ["new_task", "worker"] as const) {
    const { code, stderr } = await finish(tool, args);
    const [warning, ...rest] = stderr.split("\n");
    assertEquals(
      warning,
      `${tool}: warning: a password on the command line is visible to every user of this ` +
        "machine; use AMQP_URL or --password-file",
    );
    assert(!stderr.includes(SECRET));
    assertEquals([code, rest.length], [77, 2]);
  }
});
