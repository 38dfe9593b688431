import { assert, assertEquals } from "@std/assert";
import { type Shell, SHELLS } from "../../src/cli/help/completions.ts";
import { renderCompletions } from "../../src/cli/help/completions.ts";
import { pages, trees } from "../../scripts/manual/tools.ts";
import { ask, canAsk, complete } from "../support/shells.ts";
import { tempDir } from "../support/temp.ts";

/** Lines, and what must be offered for each; `not`: what must not. */
interface Question {
  readonly line: string;
  readonly words: readonly string[];
  readonly exact?: boolean;
  readonly not?: readonly string[];
}

const questions: Question[] = [
  // Every option of every tool and subcommand.
  ...pages.map(({ name, flags }): Question => ({
    line: `${name} --`,
    words: Object.keys(flags).map((option) => `--${option}`),
    exact: true,
  })),
  ...pages.map(({ name, flags }): Question => ({
    line: `${name} -`,
    words: Object.values(flags).flatMap(({ short }) => short === undefined ? [] : `-${short}`),
  })),
  // And every subcommand.
  ...pages.flatMap(({ name, commands = {}, actions = {} }): Question[] => {
    const words = [...Object.keys(commands), ...Object.keys(actions)];
    return words.length === 0 ? [] : [{ line: `${name} `, words }];
  }),
  { line: "worker -q x --queue-type ", words: ["quorum", "classic"], exact: true },
  { line: "worker --queue-type=cl", words: ["classic"], exact: true },
  { line: "worker --url amqp://u:p@h:1/%2F --queue=a=3,b --ack ", words: ["late", "early"] },
  { line: "worker --config ", words: ["a-file", "folder/"], exact: true },
  { line: "worker --cwd ", words: ["folder/"], exact: true, not: ["a-file"] },
  { line: "worker --help ", words: ["all", "connection", "lifecycle", "dead"] },
  { line: "worker dead -q dead --", words: ["--match"], not: ["--concurrency"] },
  { line: "worker dead show --ma", words: ["--max", "--match", "--max-replays"], exact: true },
  { line: "worker --queue dead --conc", words: ["--concurrency"], exact: true },
  { line: "worker -q x dea", words: [], not: ["dead"] },
  { line: "new_task --file ", words: ["a-file", "folder/"], exact: true },
  { line: "broker --completions ", words: [...SHELLS], exact: true },
  { line: "workqueue ", words: ["new_task", "worker", "broker"], exact: true },
  { line: "workqueue worker ", words: ["dead", "queues"], not: ["broker"] },
  ...pages.filter(({ name }) => name.startsWith("worker")).map(({ name, flags }): Question => ({
    line: `workqueue ${name} --`,
    words: Object.keys(flags).map((option) => `--${option}`),
    exact: true,
  })),
  { line: "workqueue worker -c 4 -- broker --trans", words: ["--transient"], exact: true },
  // The command of a worker has completions of its own.
  { line: "worker -c 4 -- broker --trans", words: ["--transient"], exact: true },
  { line: "worker -c 4 broker --trans", words: ["--transient"], exact: true },
];

for (const shell of SHELLS) {
  Deno.test({
    name: `${shell} offers every option of every subcommand, and what it knows of the values`,
    ignore: !canAsk(shell),
    fn: () => testShell(shell),
  });
}

async function testShell(shell: Shell): Promise<void> {
  const scripts = await Promise.all(trees.map(({ page }) => renderCompletions(shell, page)));
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.file("a-file"), "");
  await Deno.mkdir(dir.file("folder"));
  const answers = await ask(shell, scripts, questions.map(({ line }) => line), dir.path);
  const wrong: string[] = [];
  for (const [i, { line, words, exact, not = [] }] of questions.entries()) {
    const offered = new Set(answers[i]);
    const missing = words.filter((word) => !offered.has(word));
    const surplus = exact
      ? [...offered].filter((word) => !words.includes(word))
      : not.filter((word) => offered.has(word));
    if (missing.length + surplus.length === 0) continue;
    wrong.push(`${line}: misses ${missing.join(" ")}; must not have ${surplus.join(" ")}`);
  }
  assertEquals(wrong, []);
  assert(answers.length === questions.length);
}

/** What is typed, and what it stands for when Tab has completed it. */
const odd: readonly (readonly [typed: string, whole: string])[] = [
  ["worker --config my\\ f", "worker --config my file"],
  ['worker --config "my f', "worker --config my file"],
  ["worker --config=my", "worker --config=my file"],
  ["worker --config a\\*", "worker --config a*b"],
  ["worker --config colon", "worker --config colon:x"],
  ["worker --config colon:", "worker --config colon:x"],
  ["worker --config=colon:", "worker --config=colon:x"],
  ["worker --config equals=", "worker --config equals=x"],
  ["worker --config the\\ folder/colon:", "worker --config the folder/colon:y"],
  ["worker --cwd th", "worker --cwd the folder/"],
  ["new_task --files my\\ file a\\*", "new_task --files my file a*b"],
  ["worker -- ./ru", "worker -- ./run me"],
  ["worker ./the\\ folder/ru", "worker ./the folder/run me"],
];

for (const shell of ["bash", "zsh"] as const) {
  Deno.test({
    name: `${shell} completes names of files whatever is in them`,
    ignore: !canAsk(shell),
    async fn() {
      const scripts = await Promise.all(trees.map(({ page }) => renderCompletions(shell, page)));
      await using dir = await tempDir();
      await Deno.mkdir(dir.file("the folder"));
      for (const name of ["my file", "a*b", "axb", "colon:x", "equals=x", "the folder/colon:y"]) {
        await Deno.writeTextFile(dir.file(name), "");
      }
      for (const name of ["run me", "the folder/run me"]) {
        await Deno.writeTextFile(dir.file(name), "#!/bin/sh\n", { mode: 0o755 });
      }
      const lines = await complete(shell, scripts, odd.map(([typed]) => typed), dir.path);
      const unquoted = lines.map((line) => line.replace(/\\(.)/g, "$1").replaceAll('"', "").trim());
      assertEquals(unquoted, odd.map(([, whole]) => whole));
    },
  });
}
