import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { parseCommandLine } from "../../src/cli/command_line.ts";
import { duration, integer, list, text, toggle } from "../../src/cli/flags.ts";
import { GENERAL_FLAGS } from "../../src/cli/general_flags.ts";
import { WORKER_FLAGS } from "../../src/cli/worker_flags.ts";
import { EXIT, InputError, UsageError } from "../../src/errors.ts";
import { run } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { toolCommand } from "../support/tools.ts";

const group = "general";
const FLAGS = {
  name: text({ group, value: "NAME", help: "", env: "A_NAME", default: "nobody" }),
  count: integer({ group, short: "c", min: 1, max: 100, default: 7, help: "" }),
  wait: duration({ group, default: "5s", help: "" }),
  item: list({ group, help: "", parseOne: (given) => given }),
  quiet: toggle({ group, help: "" }),
  ...GENERAL_FLAGS,
};

/** Parses with one file for each text, and then `args`. */
async function parse(files: string[], args: string[] = [], env: Record<string, string> = {}) {
  await using dir = await tempDir();
  const paths: string[] = [];
  for (const [i, content] of files.entries()) {
    await Deno.writeTextFile(dir.file(`${i}.conf`), content);
    paths.push("--config", dir.file(`${i}.conf`));
  }
  try {
    return await parseCommandLine(FLAGS, [...paths, ...args], (name) => env[name]);
  } catch (error) {
    (error as Error).message = (error as Error).message.replaceAll(`${dir.path}/`, "");
    throw error;
  }
}

async function refusal(content: string): Promise<string> {
  return (await assertRejects(() => parse([content]), UsageError)).message;
}

Deno.test("a line is an option, and the rest of it the value", async () => {
  const { values } = await parse([`\ufeff# the mails
--name two  words\t
-c = 3
   wait=250ms

item a=b "c" \\ 'd'
item = "  #1 \\u0041\\" "
item '  $HOME "x" '
  # quiet
quiet\r
`]);
  assertEquals([values.name, values.count, values.wait], ["two  words", 3, 250]);
  assertEquals(values.item, [`a=b "c" \\ 'd'`, '  #1 A" ', `  $HOME "x" `]);
  assertEquals(values.quiet, true);
  assertEquals((await parse(["name ="])).values.name, "");
});

Deno.test("the command line comes first, then the last file, then variables", async () => {
  const files = ["name a\ncount 1\nitem 1\nitem 2", "name b\nitem 3"];
  const env = { A_NAME: "env" };
  assertEquals((await parse([], [], env)).values.name, "env");
  const both = await parse(files, [], env);
  assertEquals([both.values.name, both.values.count, both.values.item], ["b", 1, ["3"]]);
  assertEquals(both.given, new Set(["name", "count", "item"]));
  const over = await parse(files, ["--name", "c", "-c", "9", "--item=4", "word"], env);
  assertEquals([over.values.name, over.values.count, over.values.item], ["c", 9, ["4"]]);
  assertEquals(over.words, ["word"]);
});

Deno.test("a wrong line is named with its file", async () => {
  const place = "0.conf:2";
  const expected: [string, string][] = [
    ["count 0", `${place}: --count must be a whole number from 1 to 100, and is "0"`],
    [
      "conut 3",
      `${place} must begin with the name of an option, and does not; did you mean count?`,
    ],
    ["-x 3", `${place} must begin with the name of an option, and does not; --help all`],
    ["quiet yes", `${place}: --quiet is a switch and takes no value`],
    ["name", `${place}: --name needs a value (NAME)`],
    ["help", `${place}: --help is for the command line, and stands in a file`],
    ["config x", `${place}: --config is for the command line, and stands in a file`],
    ["__proto__ x", `${place} must begin with the name of an option, and does not; --help all`],
    ["name x # y", `${place}: --name has a "#" behind a space`],
    ['name "x', `${place}: --name has a value that begins with a quote`],
    ["name 'x' y'", `${place}: --name has a value that begins with a quote`],
    ['name "a" "b"', `${place}: --name has a value that begins with a quote`],
  ];
  for (const [line, sentence] of expected) {
    assertStringIncludes(await refusal(`\n${line}\ncount 5`), sentence);
  }
  // Of several lines the one that is wrong; of a line that may be a secret, not the text.
  assertStringIncludes(await refusal("item 1\ncount 5\ncount x\ncount 6"), "0.conf:3: --count");
  for (const secret of ["hunter2hunter2", "= hunter2", "amqp://u:hunter2@h", "name 'hunter2"]) {
    assert(!(await refusal(secret)).includes("hunter2"), secret);
  }
});

Deno.test("a file that is missing, no text or without an end is refused", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(dir.file("bytes"), new Uint8Array([0x6e, 0xff]));
  const expected: [string, number, string][] = [
    [dir.file("none"), EXIT.noInput, "no such file"],
    [dir.path, EXIT.noInput, "is a directory"],
    [dir.file("bytes"), EXIT.badData, "must be UTF-8"],
    ["/dev/zero", EXIT.badData, "must have at most 1048576 bytes"],
  ];
  for (const [path, status, sentence] of expected) {
    const error = await assertRejects(
      () => parseCommandLine(FLAGS, ["--config", path], () => undefined),
      InputError,
    );
    assertEquals(error.exitCode, status);
    assertStringIncludes(error.message, sentence);
    // Help needs no file.
    await parseCommandLine(FLAGS, ["--config", path, "--help"], () => undefined);
  }
});

Deno.test("subcommands take options from a file, a password without a warning", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(
    dir.file("c"),
    "url amqp://ann:hunter2@127.0.0.1:1/\nqueue two words\n",
  );
  for (const words of [["dead", "ls"], ["queues"]]) {
    const [command, ...args] = toolCommand("worker", words);
    const { code, stderr } = await run(command, { args: [...args, "--config", dir.file("c")] });
    assertEquals(code, 75, stderr);
    assertStringIncludes(stderr, "127.0.0.1:1");
    assert(!/hunter2|command line/.test(stderr), stderr);
  }
});

Deno.test("the file that docs/command_line.md shows is one", async () => {
  const page = await Deno.readTextFile(new URL("../../docs/command_line.md", import.meta.url));
  const example = /```[^\n]*\n(# \/etc\/worker\/[^`]*)```/.exec(page)![1]!;
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.file("c"), example);
  const args = ["--config", dir.file("c")];
  const { values, given } = await parseCommandLine(WORKER_FLAGS, args, () => undefined);
  assertEquals(given.size, example.trim().split("\n").length - 1);
  assertEquals([values.concurrency, values["no-reply"]], [4, true]);
  assertEquals(values.shell, 'convert - -resize 200x200 "/srv/thumbs/$TASK_ID.png"');
});
