import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { blocksOf, type Paper, table } from "../../src/cli/help/layout.ts";
import { groupsOf, renderHelp } from "../../src/cli/help/render.ts";
import type { HelpPage } from "../../src/cli/help/page.ts";
import { GROUPS } from "../../src/cli/groups.ts";
import type { Host } from "../../src/cli/main.ts";
import { didYouMean } from "../../src/cli/suggest.ts";
import { tell } from "../../src/cli/tell.ts";
import { UsageError } from "../../src/errors.ts";
import { pages } from "../../scripts/manual/tools.ts";
import { programTest, run } from "../support/process.ts";
import { toolCommand } from "../support/tools.ts";

function paper(columns: number): Paper {
  return { columns, bold: (text) => text };
}

for (const page of pages) {
  const { name } = page;

  Deno.test(`${name}: --help has three examples and the ten options that matter`, () => {
    const brief = renderHelp(page, "brief", paper(80));
    assertMatch(brief, new RegExp(`^Usage: ${name} `));
    assertEquals(page.examples.length, 3);
    for (const [purpose, command] of page.examples) {
      assertStringIncludes(brief, `  ${command}\n`);
      assertStringIncludes(brief.replaceAll("\n  ", " "), `# ${purpose}`);
      assert(command.includes(name.split(" ")[0]!));
    }
    const shown = page.essential ?? Object.keys(page.flags);
    assert(shown.length <= (page.essential === undefined ? 16 : 10), `${shown.length} options`);
    assertEquals(brief.match(/^ {2}(?:-., | {4})--/gm)?.length, shown.length);
    for (const option of shown) {
      assert(Object.hasOwn(page.flags, option), `${option} is no option`);
      assertMatch(brief, new RegExp(`^  (-., |    )--${option}( |$)`, "m"));
    }
    for (const word of [...Object.keys(page.commands ?? {}), ...Object.keys(page.actions ?? {})]) {
      assertMatch(brief, new RegExp(`^  ${name} ${word} +\\w`, "m"));
    }
  });

  Deno.test(`${name}: --help all has every option under its subject, and every variable`, () => {
    const whole = renderHelp(page, "all", paper(80));
    for (const [option, flag] of Object.entries(page.flags)) {
      const title = `\n${GROUPS[flag.group]}:\n`;
      assertStringIncludes(whole, title);
      const section = whole.slice(whole.indexOf(title)).slice(1).split("\n\n")[0]!;
      const letter = flag.short === undefined ? "    " : `-${flag.short}, `;
      const value = flag.value === undefined ? "" : ` ${flag.value}`;
      assertStringIncludes(`${section}\n`, `\n  ${letter}--${option}${value}`);
      if (flag.env !== undefined) assertMatch(whole, new RegExp(`\n  ${flag.env} +stands in for`));
      const alone = renderHelp(page, flag.group, paper(80));
      assertStringIncludes(alone, `--${option}${value}`);
    }
    assertMatch(whole, /\nEnvironment:\n(.*\n)* {2}NO_COLOR /);
    for (const [title] of page.sections ?? []) assertStringIncludes(whole, `\n${title}:\n`);
  });

  Deno.test(`${name}: help fits into the terminal`, () => {
    for (const columns of [80, 100, 120]) {
      for (const topic of ["brief", "all", ...groupsOf(page)]) {
        const lines = renderHelp(page, topic, paper(columns)).split("\n");
        assertEquals(lines.filter((line) => line.length > columns || line !== line.trimEnd()), []);
      }
    }
  });

  Deno.test(`${name}: no letter is that of two options, and no name is one`, () => {
    const letters = Object.values(page.flags).flatMap(({ short }) => short ?? []);
    assertEquals(new Set(letters).size, letters.length);
    assert([...letters].every((letter) => /^[a-zA-Z0-9]$/.test(letter)));
    assert(Object.keys(page.flags).every((option) => /^[a-z][a-z-]+$/.test(option)));
  });
}

Deno.test("a subcommand is summed up in the same words everywhere", async () => {
  for (const { name, commands = {} } of pages) {
    for (const [word, { summary, load }] of Object.entries(commands)) {
      const { help } = await load();
      const page = typeof help === "function" ? await help() : help;
      assertEquals([page.summary, page.name.split(" ").at(-1)], [summary, word], name);
    }
  }
});

Deno.test("what is misspelt is told what was meant", () => {
  const names = ["new_task", "worker", "broker"];
  const expected: [string, string][] = [
    ["wroker", "; did you mean worker?"],
    ["brokr", "; did you mean broker?"],
    ["newtask", "; did you mean new_task?"],
    ["help", "; did you mean --help?"],
    ["convert", ""],
  ];
  for (const [given, hint] of expected) assertEquals(didYouMean(given, names), hint);
  const options = ["pass-url", "password-file"];
  assertEquals(didYouMean("password", options, "--"), "; did you mean --password-file?");
  assertEquals(didYouMean("x", []), "");
});

Deno.test("a subject is the word that its title begins with", () => {
  for (const [group, title] of Object.entries(GROUPS)) {
    assert(title.toLowerCase().startsWith(group), title);
  }
});

Deno.test("an option means the same letter everywhere", () => {
  const names = new Map<string, string>();
  for (const { flags } of pages) {
    for (const [option, { short }] of Object.entries(flags)) {
      if (short === undefined) continue;
      assertEquals(names.get(short) ?? option, option, `-${short}`);
      names.set(short, option);
    }
  }
});

Deno.test("a subject that is not known is refused with those that are", () => {
  const page = pages.find(({ name }) => name === "worker")!;
  assertThrows(
    () => renderHelp(page, "lifecicle", paper(80)),
    UsageError,
    'general, dead, forward, page, queues, and was given "lifecicle"; did you mean lifecycle?',
  );
});

Deno.test("--help shows the page of a subcommand, and that of an action", async () => {
  const page = pages.find(({ name }) => name === "worker")!;
  const shown = async (page: HelpPage, topic: string) => {
    let text = "";
    const print = (given: string | Uint8Array) => void (text += given);
    await tell({ print } as Partial<Host> as Host, { help: topic, version: false }, () => page);
    return text;
  };
  for (const [word, { load }] of Object.entries(page.commands!)) {
    const { help } = await load();
    assertEquals(await shown(page, word), renderHelp(help as HelpPage, "brief", paper(80)));
  }
  const dead = pages.find(({ name }) => name === "worker dead")!;
  assertEquals(await shown(dead, "replay"), renderHelp(dead, "brief", paper(80)));
  await assertRejects(() => shown(dead, "reply"), UsageError, "did you mean replay?");
});

Deno.test("a section is paragraphs and rows", () => {
  const blocks = blocksOf(`  One
  two.

  Three:
    a b    first
           and on
    longer second
    c      third
  Four.`);
  assertEquals(blocks, [
    { text: "One two." },
    { text: "Three:" },
    { rows: [["a b", "first and on"], ["longer second", ""], ["c", "third"]] },
    { text: "Four." },
  ]);
  const lines = table([["a", "one two three four five six"], ["b".repeat(30), "x"]], paper(52));
  assertEquals(lines, [
    "  a                           one two three four",
    "                              five six",
    `  ${"b".repeat(30)}`,
    "                              x",
  ]);
});

programTest(
  "script",
  "help is as wide as the terminal, with bold text unless NO_COLOR says no",
  async () => {
    const command = toolCommand("broker", ["-h"]).map((word) => `'${word}'`).join(" ");
    async function shown(columns: number, env: Record<string, string | undefined>) {
      const args = ["-qec", `stty cols ${columns}; ${command}`, "/dev/null"];
      const plain = { NO_COLOR: undefined, TERM: "xterm", ...env };
      const { stdout, code } = await run("script", { args, env: plain });
      assertEquals(code, 0);
      const lines = stdout.split("\r\n");
      // deno-lint-ignore no-control-regex
      const bare = lines.map((line) => line.replace(/\x1b\[\d+m/g, ""));
      return { bold: bare.join() !== lines.join(), most: Math.max(...bare.map((l) => l.length)) };
    }
    const narrow = await shown(80, {});
    assertEquals([narrow.bold, narrow.most <= 80], [true, true]);
    const wide = await shown(110, { NO_COLOR: "1" });
    assertEquals([wide.bold, wide.most > 80 && wide.most <= 110], [false, true]);
  },
);
