/** Completions for fish. */
import type { Flag } from "../flags.ts";
import { firstWordsOf, hintOf, valued } from "./hints.ts";
import type { HelpPage } from "./page.ts";
import { meaningOf, topicsOf } from "./render.ts";
import { pagesOf, type Tree } from "./tree.ts";

export function fishCompletions(tree: Tree): string {
  const tool = tree.page.name;
  const pages = pagesOf(tree);
  return `# fish completion for ${tool}, made by ${tool} --completions fish

# The subcommand that the command line before the cursor calls.
function __${tool}_page
    set -l page ${tool}
    for word in (commandline -opc)[2..]
        contains -- "$page $word" ${pages.map(({ name }) => quoted(name)).join(" ")}
        or break
        set page "$page $word"
    end
    echo $page
end

# The words behind the options: those of a command that ${tool} runs.
function __${tool}_words
    set -l page (__${tool}_page)
    set -l skipped (string split ' ' -- $page)
    set -l from (math (count $skipped) + 1)
    set -l tokens (commandline -opc)
    set tokens $tokens[$from..]
    while set -q tokens[1]
        switch $tokens[1]
            case --
                set -e tokens[1]
                break
            case '-?*'
                contains -- "$page $tokens[1]" ${pages.flatMap(valued).map(quoted).join(" ")}
                and set -e tokens[1]
                set -e tokens[1]
            case '*'
                break
        end
    end
    string join \\n -- $tokens
end

function __${tool}_at
    test (__${tool}_page) = "$argv"
    and not __${tool}_in_command
end

function __${tool}_in_command
    contains -- (__${tool}_page) ${
    pages.filter(({ words }) => words === "command").map(({ name }) => quoted(name)).join(" ")
  }
    and test (count (__${tool}_words)) -gt 0
end

function __${tool}_complete_command
    complete -C (string join ' ' -- (string escape -- (__${tool}_words)) (commandline -ct))
end

function __${tool}_asks
    string match -qr -- '^(-h|--help)$' (commandline -opc)[-1]
end

complete -c ${tool} -n __${tool}_in_command -f -a '(__${tool}_complete_command)'
${pages.map((page) => pageLines(tool, page).join("\n")).join("\n\n")}
`;
}

/** The commands for a tool's subcommand, or for itself. */
function pageLines(tool: string, page: HelpPage): string[] {
  const here = `__${tool}_at ${page.name}`;
  const begin = `complete -c ${tool} -n '${here}'`;
  // Subcommands stand at once behind the name, other words anywhere.
  const depth = page.name.split(" ").length;
  const first = page.commands === undefined
    ? begin
    : `complete -c ${tool} -n '${here}; and test (count (commandline -opc)) -eq ${depth}'`;
  const asks = `complete -c ${tool} -n '${here}; and __${tool}_asks'`;
  return [
    ...(page.words === "file" ? [] : [`${begin} -f`]),
    ...(page.words === "command" ? [`${begin} -a '(__fish_complete_command)'`] : []),
    ...firstWordsOf(page).map(([word, meaning]) => `${first} -f -a ${word} -d ${quoted(meaning)}`),
    `${asks} -f -a ${quoted(topicsOf(page).join(" "))}`,
    ...Object.entries(page.flags).map(([option, flag]) =>
      `${begin} ${optionWords(option, flag)} -d ${quoted(meaningOf(flag))}`
    ),
  ];
}

function optionWords(option: string, flag: Flag<unknown>): string {
  const letter = flag.short === undefined ? "" : `-s ${flag.short} `;
  return `${letter}-l ${option}${argument(flag)}`;
}

function argument(flag: Flag<unknown>): string {
  if (flag.value === undefined) return "";
  const hint = hintOf(flag);
  switch (hint.kind) {
    case "words":
      return ` -x -a ${quoted(hint.words.join(" "))}`;
    case "file":
      return " -r -F";
    case "folder":
      return " -x -a '(__fish_complete_directories)'";
    case "unknown":
      return " -x";
  }
}

function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}
