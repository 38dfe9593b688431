/** CONTRIBUTING.md and the pages of docs/ name what is there, and the map names every folder. */
import { assertEquals, assertNotEquals } from "@std/assert";
import { renderOptionsPage } from "../../scripts/manual/options_page.ts";
import { pages as helpPages } from "../../scripts/manual/tools.ts";

const project = new URL("../../", import.meta.url);

/** Made by tasks. */
const MADE = ["dist/"];

const contributing = await Deno.readTextFile(new URL("CONTRIBUTING.md", project));

async function exists(path: string): Promise<boolean> {
  try {
    const { isDirectory } = await Deno.stat(new URL(path, project));
    return isDirectory || !path.endsWith("/");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return false;
    }
    throw error;
  }
}

/** Folders below one, in whatever depth, with a slash at their end. */
async function foldersOf(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(new URL(folder, project))) {
    if (!isDirectory) continue;
    const path = `${folder}${name}/`;
    found.push(path, ...await foldersOf(path));
  }
  return found;
}

/** What a text names of the project: paths, names of files, and links. */
function pathsIn(text: string): string[] {
  const words = text.split(/[\s()`,;:"'\[\]|]+/).map((word) => word.replace(/[.#]+$/, ""));
  return [...new Set(words)].filter((word) =>
    /^(?:src|tests|scripts|docs|types|\.ci|dist)\//.test(word) ||
    /^[\w./-]+\.(?:ts|md|svg|json|lock)$/.test(word)
  ).filter((word) => !word.startsWith("/") && !word.includes("*"));
}

Deno.test("CONTRIBUTING.md's map names every folder of src/", async () => {
  const folders = await foldersOf("src/");
  assertEquals(folders.filter((folder) => !contributing.includes(`${folder} `)), []);
});

Deno.test("every file and folder that CONTRIBUTING.md and docs/*.md name is there", async () => {
  const pages = ["CONTRIBUTING.md", "README.md"];
  for await (const { name } of Deno.readDir(new URL("docs/", project))) {
    if (name.endsWith(".md")) pages.push(`docs/${name}`);
  }
  const missing: string[] = [];
  for (const page of pages) {
    for (const path of pathsIn(await Deno.readTextFile(new URL(page, project)))) {
      if (MADE.some((folder) => path.startsWith(folder))) continue;
      // A page of docs/ names its neighbours, and files of src/ without saying so.
      const places = [path, ...page.startsWith("docs/") ? [`docs/${path}`, `src/${path}`] : []];
      const isThere = (await Promise.all(places.map(exists))).some((there) => there);
      if (!isThere) missing.push(`${page}: ${path}`);
    }
  }
  assertEquals(missing, []);
});

Deno.test("CONTRIBUTING.md or README.md says what each task is for", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", project)));
  const text = contributing + await Deno.readTextFile(new URL("README.md", project));
  const unnamed = Object.keys(tasks).filter((name) => !text.match(`deno task ${name}(?![\\w:-])`));
  assertEquals(unnamed, []);
});

Deno.test("every link of a page leads to a file, and to a heading of it", async () => {
  const broken: string[] = [];
  let count = 0;
  for (const page of await markdownPages()) {
    const here = new URL(page, project);
    for (const link of linksIn(await Deno.readTextFile(here))) {
      count++;
      if (/^(?:https?|mailto):/.test(link)) continue;
      const target = new URL(link, here);
      const heading = target.hash.slice(1);
      target.hash = "";
      const text = await Deno.readTextFile(target).catch((error) =>
        error instanceof Deno.errors.NotFound ? undefined : ""
      );
      const isThere = text !== undefined && (heading === "" || headingsOf(text).has(heading));
      if (!isThere) broken.push(`${page}: ${link}`);
    }
  }
  assertEquals(broken, []);
  assertNotEquals(count, 0);
});

Deno.test("commands that pages show have options that their tools know", async () => {
  const wrong: string[] = [];
  let count = 0;
  for (const page of await markdownPages()) {
    const markdown = await Deno.readTextFile(new URL(page, project));
    for (const [, kind, block] of markdown.matchAll(/^ *```([^\n]*)\n(.*?)\n *```$/gms)) {
      if (!/^(?:sh\b.*)?$/.test(kind!)) continue;
      for (const line of block!.replaceAll(/\\\n */g, "").split("\n")) {
        const found = toolOf(line);
        if (found === undefined) continue;
        count++;
        const unknown = found.options.filter((name) => !(name in found.page.flags));
        if (unknown.length > 0) wrong.push(`${page}: --${unknown.join(", --")} in ${line}`);
      }
    }
  }
  assertEquals(wrong, []);
  assertNotEquals(count, 0);
});

/** What a line of a shell starts of ours, and with which long options. */
function toolOf(line: string): { page: typeof helpPages[number]; options: string[] } | undefined {
  const bare = line.replace(/ -- .*| #.*/, "").replaceAll(/'[^']*'|"[^"]*"/g, "TEXT");
  const command = bare.replace(/\|.*/, "").trim()
    .replace(/^deno task |^(?:\S*\/)?workqueue (?=\w)/, "");
  const words = command.split(/\s+/).filter((word) => !/^\w+=/.test(word));
  const name = (words[0] ?? "").replace(/^.*\//, "");
  const page = helpPages.find((page) => page.name === `${name} ${words[1]}`) ??
    helpPages.find((page) => page.name === name);
  const options = words.flatMap((word) => /^--([\w-]+)/.exec(word)?.[1] ?? []);
  return page && { page, options };
}

async function markdownPages(): Promise<string[]> {
  const pages = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"];
  for await (const { name } of Deno.readDir(new URL("docs/", project))) {
    if (name.endsWith(".md")) pages.push(`docs/${name}`);
  }
  return pages;
}

/** Where a page's links and pictures lead; what stands in code is none. */
function linksIn(markdown: string): string[] {
  const text = markdown.replaceAll(/^```.*?^```$/gms, "").replaceAll(/`[^`]*`/g, "");
  return [...text.matchAll(/\]\(([^()\s]+)\)/g)].map((match) => match[1]!);
}

/** The headings' names in links, as GitHub makes them. */
function headingsOf(markdown: string): Set<string> {
  const text = markdown.replaceAll(/^```.*?^```$/gms, "");
  return new Set(
    [...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
      title!.toLowerCase().replaceAll(/[^\w\- ]/g, "").replaceAll(" ", "-")
    ),
  );
}

Deno.test("README.md leads to every page of docs/, or CONTRIBUTING.md does", async () => {
  const readme = await Deno.readTextFile(new URL("README.md", project));
  for await (const { name, isDirectory } of Deno.readDir(new URL("docs/", project))) {
    const link = `](docs/${name}${isDirectory ? "/" : ")"}`;
    assertEquals([name, readme.includes(link) || contributing.includes(link)], [name, true]);
  }
});

Deno.test("docs/options.md has every option as it is: else run `deno task manual`", async () => {
  const page = await Deno.readTextFile(new URL("docs/options.md", project));
  assertEquals(page.split("\n"), renderOptionsPage(helpPages).split("\n"));
});
