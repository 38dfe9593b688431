import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { manualFiles } from "../../scripts/manual.ts";
import { manName } from "../../scripts/manual/man.ts";
import { pages, trees } from "../../scripts/manual/tools.ts";
import { SHELLS } from "../../src/cli/help/completions.ts";
import { COMMAND_VARIABLES, variablesOf } from "../../src/cli/help/environment.ts";
import { SERVICE_VARIABLES } from "../../src/cli/service.ts";
import { programTest, run } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";

const files = await manualFiles("2026-11-28");

programTest(
  "mandoc",
  "manual pages are clean, and show every option, variable and section",
  async () => {
    await using dir = await tempDir();
    const paths: string[] = [];
    for (const page of pages) {
      const path = dir.file(`${manName(page)}.1`);
      await Deno.writeTextFile(path, files.get(`man/man1/${manName(page)}.1`)!);
      paths.push(path);
    }
    const lint = await run("mandoc", { args: ["-Tlint", "-Wall", ...paths] });
    assertEquals([lint.stdout, lint.stderr, lint.code], ["", "", 0]);

    for (const [i, page] of pages.entries()) {
      const { stdout } = await run("mandoc", { args: ["-Tascii", "-Owidth=1000", paths[i]!] });
      // deno-lint-ignore no-control-regex
      const shown = stdout.replace(/.\x08/g, "");
      assertStringIncludes(shown, `${manName(page)} - ${page.summary}`);
      for (const [option, { short, value = "", help }] of Object.entries(page.flags)) {
        const letter = short === undefined ? "" : `-${short}, `;
        const head = `       ${letter}--${option} ${value}`.trimEnd();
        const found = shown.split("\n").some((line) =>
          line === head || line.startsWith(`${head} `)
        );
        assertEquals(found, true, `${manName(page)}: ${head}`);
        assertStringIncludes(plain(shown), plain(help));
      }
      const given = page.words === "command" ? COMMAND_VARIABLES : [];
      for (const [name] of [...variablesOf(page), ...given]) {
        assertMatch(shown, new RegExp(`^ +${name}\\b`, "m"));
      }
      for (const [title, body] of page.sections ?? []) {
        assertStringIncludes(shown, `\n${title.toUpperCase()}\n`);
        assertStringIncludes(plain(shown), plain(body));
      }
    }
  },
);

Deno.test("packages get a manual for every page, and completions for every tool and shell", () => {
  const expected = [
    ...pages.map((page) => `man/man1/${manName(page)}.1`),
    ...trees.flatMap(({ page: { name } }) => [
      `completions/bash/${name}`,
      `completions/fish/${name}.fish`,
      `completions/zsh/_${name}`,
    ]),
  ];
  assertEquals([...files.keys()].sort(), expected.sort());
  assertEquals(SHELLS.length, 3);
});

Deno.test("every variable that the sources ask for is in the table", async () => {
  const known = new Set(pages.flatMap((page) => variablesOf(page).map(([name]) => name)));
  known.add("TERM"); // set by a terminal, for any program, and by nobody by hand
  const unknown: string[] = [];
  for (const file of await sourcesIn(new URL("../../src/", import.meta.url))) {
    const text = await Deno.readTextFile(file);
    for (const [, name] of text.matchAll(/\benv(?:\.get)?\(\s*"([A-Z][A-Z_]*)"/g)) {
      if (!known.has(name!)) unknown.push(`${file}: ${name}`);
    }
  }
  assertEquals(unknown, []);
});

Deno.test("what a service manager sets is in the table of programs that tell it how it goes", () => {
  const told = new Set(["broker", "worker", "worker forward"]);
  for (const page of pages) {
    const names = variablesOf(page).map(([name]) => name);
    for (const name of SERVICE_VARIABLES) {
      assertEquals(names.includes(name), told.has(page.name), `${page.name}: ${name}`);
    }
  }
});

Deno.test("every variable that commands get is in the table", async () => {
  const source = new URL("../../src/handlers/environment.ts", import.meta.url);
  const names = (await Deno.readTextFile(source)).matchAll(/\b(T[A-Z]+(?:_[A-Z]+)*): /g);
  const listed = COMMAND_VARIABLES.map(([name]) => name).filter((name) => name !== "AMQP_URL");
  assertEquals(new Set([...names].map(([, name]) => name)), new Set(listed));
});

/** Words alone, however they are laid out. */
function plain(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}

async function sourcesIn(folder: URL): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory) found.push(...await sourcesIn(new URL(`${name}/`, folder)));
    else if (name.endsWith(".ts")) found.push(new URL(name, folder).pathname);
  }
  return found;
}
