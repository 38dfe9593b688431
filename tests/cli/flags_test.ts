import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { parseCommandLine } from "../../src/cli/command_line.ts";
import { choice, duration, integer, list, text, toggle } from "../../src/cli/flags.ts";
import { TOOL_FLAGS } from "../../src/cli/general_flags.ts";
import { UsageError } from "../../src/errors.ts";
import { Random } from "../support/random.ts";

const FLAGS = {
  name: text({
    group: "general",
    short: "n",
    value: "NAME",
    help: "a name",
    env: "A_NAME",
    default: "nobody",
  }),
  short: text({ group: "general", help: "short text", minBytes: 1, maxBytes: 4 }),
  kind: choice({
    group: "general",
    choices: ["one", "two", "three"],
    help: "a kind",
    default: "one",
  }),
  count: integer({ group: "general", short: "c", min: 1, max: 100, default: 7, help: "a count" }),
  wait: duration({ group: "general", min: 1, max: 60_000, default: "5s", help: "a time" }),
  full: text({ group: "general", help: "some text", minBytes: 1 }),
  item: list({ group: "general", short: "i", help: "an item", parseOne: (given) => given }),
  "no-thing": toggle({ group: "general", short: "0", help: "without the thing" }),
  quiet: toggle({ group: "general", short: "Q", help: "no output" }),
};

function parse(args: readonly string[], env: Record<string, string> = {}, stopEarly = false) {
  return parseCommandLine(FLAGS, args, (name) => env[name], { stopEarly });
}

async function refusal(args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  return (await assertRejects(() => parse(args, env), UsageError)).message;
}

Deno.test("without arguments every flag has its default", async () => {
  assertEquals(await parse([]), {
    values: {
      name: "nobody",
      short: undefined,
      kind: "one",
      count: 7,
      wait: 5000,
      full: undefined,
      item: [],
      "no-thing": false,
      quiet: false,
    },
    words: [],
    given: new Set<string>(),
    separated: false,
  });
});

Deno.test("an option stands anywhere between words, and its value follows it or its =", async () => {
  const { values, words, given } = await parse(
    ["a", "--name", "x", "b", "--count=42", "--no-thing", "--wait", "250ms", "-", "c"],
  );
  assertEquals(words, ["a", "b", "-", "c"]);
  assertEquals([values.name, values.count, values.wait], ["x", 42, 250]);
  assertEquals([values["no-thing"], values.quiet], [true, false]);
  assertEquals(given, new Set(["name", "count", "wait", "no-thing"]));
});

Deno.test("a short option has its value behind it, in the same argument or the next", async () => {
  for (const args of [["-n", "x", "-c", "9"], ["-nx", "-c9"], ["-n=x", "-c=9"], ["-Q0nx", "-c9"]]) {
    const { values, words, given } = await parse([...args, "word"]);
    assertEquals([values.name, values.count, words], ["x", 9, ["word"]]);
    assertEquals(given.has("quiet"), args[0] === "-Q0nx");
    assertEquals(given.has("no-thing"), args[0] === "-Q0nx");
  }
  assertEquals((await parse(["-i1", "-i", "2", "--item=3"])).values.item, ["1", "2", "3"]);
  assertEquals((await parse(["-n=", "x"])).words, ["x"]);
  const command = await parse(["-c", "2", "sh", "-c", "3"], {}, true);
  assertEquals([command.values.count, command.words], [2, ["sh", "-c", "3"]]);
});

Deno.test("a short option is refused as its long form is", async () => {
  assertEquals(await refusal(["-n"]), "--name needs a value (NAME)");
  assertMatch(await refusal(["-n", "-x"]), /one that begins with "-" is written --name=-x$/);
  assertEquals(await refusal(["-Q=1"]), "--quiet is a switch and takes no value");
  assertEquals(await refusal(["-Qz"]), 'the option "-Qz" is not known; --help all lists them');
  // One hyphen too few is no value: "-name" is not the name "ame".
  for (const arg of ["-name", "-name=x", "-item"]) {
    assertMatch(await refusal([arg]), /is not known; did you mean --(name|item)\?$/);
  }
});

Deno.test("a switch takes no word for its value", async () => {
  for (const word of ["true", "false", "1", "x"]) {
    const { values, words } = await parse(["--quiet", word]);
    assertEquals([values.quiet, words], [true, [word]]);
  }
});

Deno.test("of an option given twice the last counts, and a repeatable one keeps all", async () => {
  const { values } = await parse(["--name", "a", "--item=1", "--name=b", "--item", "2"]);
  assertEquals([values.name, values.item], ["b", ["1", "2"]]);
});

Deno.test("the environment stands in for an absent option, unless it is empty", async () => {
  assertEquals((await parse([], { A_NAME: "env" })).values.name, "env");
  assertEquals((await parse([], { A_NAME: "" })).values.name, "nobody");
  const both = await parse(["--name="], { A_NAME: "env" });
  assertEquals([both.values.name, both.given.has("name")], ["", true]);
});

Deno.test("an option that says nothing with the others is refused", async () => {
  const flags = {
    file: text({ group: "general", help: "a file", env: "A_FILE" }),
    stdin: toggle({ group: "general", help: "no file", excludes: ["file"] }),
    ttl: duration({ group: "general", default: "1d", help: "a time", needs: ["file"] }),
    code: integer({ group: "general", min: 0, max: 9, help: "a code", needs: ["stdin", "ttl"] }),
    once: toggle({ group: "general", help: "once", needs: ["stdin", "file"] }),
  };
  const parse = (args: string[], env: Record<string, string> = {}) =>
    parseCommandLine(flags, args, (name) => env[name]);
  const refused: [string[], string][] = [
    [["--stdin", "--file=x"], "one of --stdin and --file can be had, and both were given"],
    [["--ttl=1s"], "--ttl needs --file, and it is not given"],
    [["--once"], "--once needs --stdin or --file, and none is given"],
  ];
  for (const [args, sentence] of refused) {
    assertEquals((await assertRejects(() => parse(args), UsageError)).message, sentence);
  }
  await parse(["--ttl=1s", "--file=x", "--code=1", "--once"]);
  // A variable is not for this one command alone.
  const env = { A_FILE: "x" };
  assertEquals((await parse(["--ttl=1s", "--stdin"], env)).values.file, "x");
});

Deno.test("any words after -- come through unchanged", async () => {
  const random = new Random(1);
  for (let i = 0; i < 2000; i++) {
    const before = random.list(3, () => random.pick(["a", "-", "--quiet", "--name=x"]));
    const after = random.list(5, () => random.pick([random.text(), "--", "--name", "-x", ""]));
    const { words, separated } = await parse([...before, "--", ...after]);
    const plain = before.filter((arg) => !arg.startsWith("--"));
    assertEquals({ words, separated }, { words: [...plain, ...after], separated: true });
  }
});

Deno.test("any value given with = comes through unchanged", async () => {
  const random = new Random(2);
  for (let i = 0; i < 2000; i++) {
    const name = random.text();
    const items = random.list(3, () => random.text());
    const { values, words } = await parse([
      `--name=${name}`,
      "word",
      ...items.map((item) => `--item=${item}`),
    ]);
    assertEquals([values.name, values.item, words], [name, items, ["word"]]);
  }
});

Deno.test("any value after its option comes through unchanged, unless it begins with -", async () => {
  const random = new Random(3);
  for (let i = 0; i < 2000; i++) {
    const value = random.text();
    if (value.startsWith("-") && value !== "-") {
      assertStringIncludes(await refusal(["--name", value]), `is written --name=${value}`);
    } else {
      const { values, words } = await parse(["--name", value, "word"]);
      assertEquals([values.name, words], [value, ["word"]]);
    }
  }
});

Deno.test("with stopEarly everything from the first word on is a word", async () => {
  const { values, words, separated } = await parse(
    ["--quiet", "sh", "-c", "--name=x", "--", "y"],
    {},
    true,
  );
  assertEquals([values.quiet, values.name], [true, "nobody"]);
  assertEquals({ words, separated }, {
    words: ["sh", "-c", "--name=x", "--", "y"],
    separated: false,
  });
});

Deno.test("an unknown option is refused, with the nearest name when one is near", async () => {
  const expected: [string, string][] = [
    ["--nam", 'the option "--nam" is not known; did you mean --name?'],
    ["--naem", 'the option "--naem" is not known; did you mean --name?'],
    ["-name=secret", 'the option "-name" is not known; did you mean --name?'],
    ["--no-name", 'the option "--no-name" is not known; --help all lists them'],
    ["--no-things", 'the option "--no-things" is not known; did you mean --no-thing?'],
    ["--Quiet", 'the option "--Quiet" is not known; did you mean --quiet?'],
    ["-q", 'the option "-q" is not known; --help all lists them'],
    ["---", 'the option "---" is not known; --help all lists them'],
    ["--=x", 'the option "--" is not known; --help all lists them'],
    ["--__proto__", 'the option "--__proto__" is not known; --help all lists them'],
    ["--constructor=x", 'the option "--constructor" is not known; --help all lists them'],
  ];
  for (const [arg, sentence] of expected) assertEquals(await refusal([arg]), sentence);
});

Deno.test("a value out of bounds is refused in one sentence with the bounds and the value", async () => {
  const expected: [string[], string][] = [
    [["--name"], "--name needs a value (NAME)"],
    [["--quiet=1"], "--quiet is a switch and takes no value"],
    [["--short="], "--short must have 1 to 4 bytes, and has 0"],
    [["--short=\u{1f407}x"], "--short must have 1 to 4 bytes, and has 5"],
    [["--full="], "--full must have at least 1 byte, and has 0"],
    [["--kind=four"], '--kind must be one, two or three, and is "four"'],
    [["--kind=One"], '--kind must be one, two or three, and is "One"'],
    ...["0", "101", "1e1", "-1", "+1", "1.0", " 1", "", "0x1", "\u0661", "9".repeat(40)].map(
      (value): [string[], string] => [
        [`--count=${value}`],
        `--count must be a whole number from 1 to 100, and is "${value}"`,
      ],
    ),
    ...["0", "0.0001s", "61s", "5S", "5  s", "1 min 1 s", "-5s", "1e3", "", "Infinity", "5sec"].map(
      (value): [string[], string] => [
        [`--wait=${value}`],
        `--wait must be a time such as 500ms, 5s or 25m, from 1 ms to 1 min, and is "${value}"`,
      ],
    ),
  ];
  for (const [args, sentence] of expected) assertEquals(await refusal(args), sentence);
});

Deno.test("a bad variable is named in the refusal", async () => {
  const flags = {
    count: integer({ group: "general", short: "c", min: 1, max: 9, help: "", env: "A_COUNT" }),
  };
  const error = await assertRejects(
    () => parseCommandLine(flags, [], () => "10"),
    UsageError,
  );
  assertEquals(error.message, 'A_COUNT must be a whole number from 1 to 9, and is "10"');
});

Deno.test("leading zeros are decimal", async () => {
  assertEquals((await parse(["--count=010"])).values.count, 10);
});

Deno.test("with a switch that stands alone nothing else is looked at", async () => {
  const flags = { ...FLAGS, help: toggle({ group: "general", short: "h", help: "", alone: true }) };
  async function isAlone(args: readonly string[]): Promise<boolean> {
    const wrongVariable = integer({ group: "general", min: 1, max: 9, help: "", env: "A_COUNT" });
    const { values } = await parseCommandLine({ ...flags, wrongVariable }, args, () => "x");
    return values.help;
  }
  for (const wrong of ["--bogus", "--count=x", "word"]) {
    assertEquals(await isAlone(["--help", wrong]), true);
    assertEquals(await isAlone([wrong, "--help"]), true);
  }
  assertEquals(await isAlone(["--help", "--name"]), true);
  assertEquals(await isAlone(["--name", "-h"]).catch(() => "refused"), "refused");
  assertEquals(await isAlone(["-h", "--name"]), true);
  assertEquals((await parseCommandLine(flags, ["--", "--help"], () => "")).values.help, false);
  const command = await parseCommandLine(flags, ["ls", "--help"], () => "", { stopEarly: true });
  assertEquals([command.values.help, command.words], [false, ["ls", "--help"]]);
});

Deno.test("--help takes the word behind it for its subject", async () => {
  const flags = { ...FLAGS, ...TOOL_FLAGS };
  const expected: [string[], string | undefined][] = [
    [["--help"], "brief"],
    [["-h"], "brief"],
    [["--help", "all"], "all"],
    [["-h", "connection", "x"], "connection"],
    [["--help=nonsense"], "nonsense"],
    [["--help", "nonsense"], "nonsense"],
    [["-h", "nonsense"], "nonsense"],
    [["--help", "--quiet"], "brief"],
    [["--name", "x", "--help", "all"], "all"],
    [["-Qh", "all"], "all"],
    [[], undefined],
  ];
  for (const [args, topic] of expected) {
    const { values, words } = await parseCommandLine(flags, args, () => undefined);
    assertEquals([values.help, words], [topic, []]);
  }
});

Deno.test("an option without a group is an error of types", () => {
  // @ts-expect-error `deno check` refuses it
  assertEquals(toggle({ help: "" }).group, undefined);
});
