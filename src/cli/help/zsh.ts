/** Completions for zsh. */
import type { Flag } from "../flags.ts";
import { firstWordsOf, hintOf, quoted } from "./hints.ts";
import type { HelpPage } from "./page.ts";
import { meaningOf, topicsOf } from "./render.ts";
import type { Tree } from "./tree.ts";

export function zshCompletions(tree: Tree): string {
  const tool = tree.page.name;
  // Read by `source`, it registers itself; as a file of $fpath, its first line does.
  return `#compdef ${tool}
# zsh completion for ${tool}, made by ${tool} --completions zsh

${treeFunctions(tree)}
if [[ $funcstack[1] == _${tool} ]]; then
  _${tool} "$@"
else
  compdef _${tool} ${tool}
fi
`;
}

function treeFunctions(tree: Tree): string {
  const nested = [...tree.branches.values()].map(treeFunctions).join("");
  return nested + pageFunction(tree);
}

function pageFunction({ page, branches }: Tree): string {
  const name = functionOf(page.name);
  const calls = [...branches].map(([word, { page }]) =>
    `      (${word}) shift words; (( CURRENT-- )); ${functionOf(page.name)}; return ;;\n`
  ).join("");
  const dispatch = calls === ""
    ? ""
    : `  if (( CURRENT > 2 )); then\n    case $words[2] in\n${calls}    esac\n  fi\n`;
  const specs = [
    ...Object.entries(page.flags).map(([option, flag]) => specOf(page, option, flag)),
    ...wordSpecs(page),
  ];
  return `${name}() {
${dispatch}  local curcontext=$curcontext
  _arguments -s -S : \\
${specs.map((spec) => `    ${spec}`).join(" \\\n")}
}

${firstFunction(page)}`;
}

function functionOf(page: string): string {
  return `_${page.replaceAll(" ", "_")}`;
}

/** For words that are not options. */
function wordSpecs(page: HelpPage): string[] {
  const first = functionOf(page.name) + "_first";
  const hasFirst = firstWordsOf(page).length > 0;
  if (page.words === "command") {
    return [quoted(`(-)1:command:${first}`), quoted("*::arguments:_normal")];
  }
  return [
    ...(hasFirst ? [quoted(`1:subcommand:${first}`)] : []),
    ...(page.words === "file" ? [quoted("*:file:_files")] : []),
    ...(page.words === undefined && page.actions !== undefined ? [quoted("*:id: ")] : []),
  ];
}

/** Offers what the first word can be. */
function firstFunction(page: HelpPage): string {
  const words = firstWordsOf(page);
  const commands = page.words === "command" ? "  _command_names -e\n" : "";
  if (words.length === 0 && commands === "") return "";
  const rows = words.map(([word, meaning]) => quoted(`${word}:${meaning}`)).join(" ");
  // Subcommands stand at once behind the name, other words anywhere.
  const place = page.commands === undefined ? "" : "(( CURRENT == 2 )) && ";
  const offer = words.length === 0
    ? ""
    : `  local -a subcommands=(${rows})\n  ${place}_describe subcommand subcommands\n`;
  return `${functionOf(page.name)}_first() {\n${offer}${commands}}\n\n`;
}

/** An argument of _arguments: "(-q --queue)"{-q+,--queue=}"[work queue]:NAME: ". */
function specOf(page: HelpPage, option: string, flag: Flag<unknown>): string {
  const { short, value, repeatable, topics, alone } = flag;
  const [letterEnd, nameEnd] = value === undefined ? ["", ""] : ["+", "="];
  const spellings = short === undefined
    ? [`--${option}${nameEnd}`]
    : [`-${short}${letterEnd}`, `--${option}${nameEnd}`];
  const excluded = alone
    ? "(- *)"
    : repeatable
    ? "*"
    : short === undefined
    ? ""
    : `(-${short} --${option})`;
  const text = `[${escaped(meaningOf(flag))}]${argument()}`;
  if (spellings.length === 1) return quoted(excluded + spellings[0] + text);
  return `${quoted(excluded)}{${spellings.join(",")}}${quoted(text)}`;

  function argument(): string {
    if (topics) return `::SUBJECT:(${topicsOf(page).join(" ")})`;
    if (value === undefined) return "";
    return `:${value.replaceAll(":", "\\:")}:${actionOf(flag)}`;
  }
}

function actionOf(flag: Flag<unknown>): string {
  const hint = hintOf(flag);
  switch (hint.kind) {
    case "words":
      return `(${hint.words.map((word) => word.replaceAll(":", "\\:")).join(" ")})`;
    case "file":
      return "_files";
    case "folder":
      return "_files -/";
    case "unknown":
      return " ";
  }
}

function escaped(text: string): string {
  return text.replace(/[[\]\\:]/g, "\\$&");
}
