/**
 * What README.md, the pages of docs/, the help and the packages show of the tools' command lines is
 * what the tools take, also where nothing runs it.
 */
import { assert, assertEquals } from "@std/assert";
import { pages } from "../../scripts/manual/tools.ts";
import { parseUrls } from "../../src/amqp/url.ts";
import { parseCommandLine } from "../../src/cli/command_line.ts";
import { InputError } from "../../src/errors.ts";
import { findBlocks, pagePaths } from "./blocks.ts";

const root = new URL("../../", import.meta.url).pathname;
const byName = new Map(pages.map((page) => [page.name, page]));
const TOOLS = ["new_task", "worker", "broker", "workqueue"];

Deno.test("every command line that is shown is one that the tool takes", async () => {
  const wrong: string[] = [];
  let checked = 0;
  for (const [place, text] of await shownTexts()) {
    for (const words of commandsIn(text)) {
      const fault = await faultOf(words);
      checked++;
      if (fault !== undefined) wrong.push(`${place}: ${words.join(" ")}: ${fault}`);
    }
  }
  assertEquals(wrong, []);
  assert(checked > 100, `only ${checked} were found`); // a search that finds little checks little
});

Deno.test("every AMQP_URL that is shown is one", async () => {
  const page = await Deno.readTextFile(`${root}docs/connections.md`);
  const urls = [...page.matchAll(/^AMQP_URL=(.*)$/gm)].map(([, url]) => url!);
  assert(urls.length > 0);
  for (const url of urls) parseUrls(url, "AMQP_URL");
});

/** Texts with commands in them, and where they stand. */
async function shownTexts(): Promise<[place: string, text: string][]> {
  const texts = pages.flatMap(({ name, examples }) =>
    examples.map(([, command]): [string, string] => [`help of ${name}`, command])
  );
  for (const path of ["CONTRIBUTING.md", ...await pagePaths()]) {
    const page = await Deno.readTextFile(root + path);
    for (const { tags, text } of findBlocks(page)) if (tags[0] === "sh") texts.push([path, text]);
    // Those with values, and nothing left out.
    for (const [, span] of page.replace(/^```.*?^```$/gms, "").matchAll(/`([^`]+)`/g)) {
      if (/ -/.test(span!) && !/\.\.\.|[[|<]|^\w+(?: -[-\w]+)+$/.test(span!)) {
        texts.push([path, span!]);
      }
    }
  }
  for (const unit of ["broker.service", "worker@.service", "new_task@.service"]) {
    const text = await Deno.readTextFile(`${root}packaging/systemd/${unit}`);
    for (const [, command] of text.matchAll(/^ExecStart=(.*)$/gm)) texts.push([unit, command!]);
  }
  return texts;
}

/** The tools' command lines in a text of a shell, as words. */
function commandsIn(text: string): string[][] {
  const commands: string[][] = [[]];
  const token =
    /\\\n|#[^\n]*|(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\;&|<>()])+|\d?>>?&?\d?|[<\n;&|()]/g;
  let isFile = false;
  for (const [found] of text.matchAll(token)) {
    if (found === "\\\n" || found.startsWith("#")) continue;
    if (/^\d?>|^</.test(found)) isFile = !/&\d$/.test(found);
    else if (/^[\n;&|()]$/.test(found)) commands.push([]);
    else if (isFile) isFile = false;
    else commands.at(-1)!.push(unquoted(found));
  }
  return commands.flatMap((words) => {
    const start = words.findIndex((word) => !/^\w+=|^(?:exec|deno|task)$/.test(word));
    const name = words[start]?.replace(/^.*\//, "") ?? "";
    return TOOLS.includes(name) ? [[name, ...words.slice(start + 1)]] : [];
  });
}

function unquoted(word: string): string {
  return word.replace(
    /"((?:\\.|[^"\\])*)"|'([^']*)'|\\(.)/gs,
    (_, double, single, escaped) => double?.replace(/\\(["\\$])/g, "$1") ?? single ?? escaped,
  );
}

/** @returns what is wrong with a command line */
async function faultOf([tool, ...args]: string[]): Promise<string | undefined> {
  let name = tool!;
  let rest = args;
  while (byName.has(`${name} ${rest[0]}`)) name += ` ${rest.shift()}`;
  // "workqueue worker" is "worker".
  const page = byName.get(name) ?? byName.get(name.replace(/^workqueue /, ""));
  if (page === undefined) return "no such tool";
  if (name === "workqueue" && TOOLS.includes(rest[0]!)) return await faultOf(rest);
  try {
    const stopEarly = page.words === "command";
    const { words } = await parseCommandLine(page.flags, rest, () => undefined, { stopEarly });
    if (page.words !== "command") return undefined;
    rest = words;
  } catch (error) {
    return error instanceof InputError ? undefined : (error as Error).message;
  }
  // A worker runs a tool.
  for (const words of commandsIn(rest.join(" "))) {
    const fault = await faultOf(words);
    if (fault !== undefined) return fault;
  }
  return undefined;
}
