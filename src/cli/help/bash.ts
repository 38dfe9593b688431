/** Completions for bash, with or without bash-completion. */
import type { Flag } from "../flags.ts";
import { firstWordsOf, hintOf, quoted, spellingsOf, valued } from "./hints.ts";
import type { HelpPage } from "./page.ts";
import { topicsOf } from "./render.ts";
import { pagesOf, type Tree } from "./tree.ts";

export function bashCompletions(tree: Tree): string {
  const tool = tree.page.name;
  const pages = pagesOf(tree);
  return [
    `# bash completion for ${tool}, made by ${tool} --completions bash`,
    wordsFunction(tool),
    walkFunction(tool),
    tables(tool, pages),
    valuesFunctions(tool, pages),
    mainFunction(tool, pages),
    `complete -F _${tool} ${tool}\n`,
  ].join("\n\n");
}

function wordsFunction(tool: string): string {
  return `# The words up to the cursor as ${tool} will get them; bash cuts them at "=" and ":", too.
_${tool}_words() {
  local i word rest=\${COMP_LINE:0:COMP_POINT}
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ $i -gt 0 && $rest != [[:space:]]* ]]; then
      words[\${#words[@]} - 1]+=$word
    else
      words+=("$word")
      places+=("$i")
      rest=\${rest#"\${rest%%[![:space:]]*}"}
    fi
    rest=\${rest#"$word"}
  done
}`;
}

function walkFunction(tool: string): string {
  return `# What the words before the last one say.
_${tool}_walk() {
  local i word
  for ((i = 1; i < \${#words[@]} - 1; i++)); do
    word=\${words[i]}
    if [[ -n $option ]]; then
      option=
    elif [[ $i == "$depth" ]] && _${tool}_has_page "$page $word"; then
      page+=" $word"
      depth=$((depth + 1))
    elif [[ -z $closed && $word == -- ]]; then
      closed=1
    elif [[ -z $closed && $word == -?* ]]; then
      if _${tool}_takes_value "$page $word"; then option=$word; fi
    else
      first=\${first:-$i}
      if _${tool}_runs_command; then return; fi
    fi
  done
}`;
}

/** What the pages are and have, as functions. */
function tables(tool: string, pages: readonly HelpPage[]): string {
  const commanding = pages.filter(({ words }) => words === "command").map(({ name }) => name);
  return `_${tool}_has_page() {
  case $1 in
    ${alternatives(pages.map(({ name }) => name))}) return 0 ;;
  esac
  return 1
}

_${tool}_runs_command() {
  case $page in
    ${alternatives(commanding)}) return 0 ;;
  esac
  return 1
}

_${tool}_takes_value() {
  case $1 in
    ${alternatives(pages.flatMap(valued))}) return 0 ;;
  esac
  return 1
}

_${tool}_options() {
  case $page in
${cases(pages.map((page) => [[page.name], `echo ${quoted(spellings(page).join(" "))}`]))}
  esac
}

# Subcommands stand at once behind the name, other words anywhere.
_${tool}_first_words() {
  case $page in
${cases(pages.map((page) => [[page.name], firstWords(page)]))}
  esac
}`;
}

function valuesFunctions(tool: string, pages: readonly HelpPage[]): string {
  return `# Files, or folders with -d, or commands with -c, that begin with $2; a line each, for names may
# have blanks and wildcards.
_${tool}_files() {
  local name
  while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen "$1" -- "$2")
  if [[ $1 != -c || $2 == */* ]]; then compopt -o filenames 2>/dev/null; fi
}

# Leaves out of the answers what bash keeps of the word: all up to the last "=" or ":" that is not
# quoted.
_${tool}_trim() {
  local typed=\${COMP_WORDS[COMP_CWORD]} kept=$last plain=
  if [[ -z \${typed//[=:]/} ]]; then typed=; fi
  kept=\${kept%"$typed"}
  while [[ $kept == *\\\\* ]]; do
    plain+=\${kept%%\\\\*}
    kept=\${kept#*\\\\}
    plain+=\${kept:0:1}
    kept=\${kept:1}
  done
  plain+=$kept
  COMPREPLY=("\${COMPREPLY[@]#"$plain"}")
}

# Values of the option $1 that begin with $2.
_${tool}_values() {
  case "$page $1" in
${cases(pages.flatMap(values))}
  esac
}`;
}

function mainFunction(tool: string, pages: readonly HelpPage[]): string {
  const naming = pages.filter(({ words }) => words === "file").map(({ name }) => name);
  return `_${tool}() {
  local words=() places=() option= first= closed= page=${tool} depth=1 last before
  _${tool}_words
  _${tool}_walk
  last=\${words[\${#words[@]} - 1]}
  before=\${words[\${#words[@]} - 2]}
  COMPREPLY=()
  if [[ -n $first ]] && _${tool}_runs_command; then
    if declare -F _command_offset >/dev/null; then _command_offset "\${places[first]}"; fi
    return 0
  elif [[ -n $option ]]; then
    _${tool}_values "$option" "$last"
  elif [[ -z $closed && $last == --*=* ]]; then
    _${tool}_values "\${last%%=*}" "\${last#*=}"
    COMPREPLY=("\${COMPREPLY[@]/#/\${last%%=*}=}")
  elif [[ -z $closed && $last == -* ]]; then
    COMPREPLY=($(compgen -W "$(_${tool}_options)" -- "$last"))
  elif [[ -z $closed && $before =~ ^(-h|--help)$ ]]; then
    _${tool}_values --help "$last"
  else
    if [[ -z $first$closed ]]; then
      COMPREPLY=($(compgen -W "$(_${tool}_first_words)" -- "$last"))
    fi
    if _${tool}_runs_command; then _${tool}_files -c "$last"; fi
    case $page in
      ${alternatives(naming)}) _${tool}_files -f "$last" ;;
    esac
  fi
  _${tool}_trim
  return 0
}`;
}

function spellings({ flags }: HelpPage): string[] {
  return Object.entries(flags).flatMap(([name, flag]) => spellingsOf(name, flag));
}

function firstWords(page: HelpPage): string {
  const words = quoted(firstWordsOf(page).map(([word]) => word).join(" "));
  return page.commands === undefined
    ? `echo ${words}`
    : `if [[ \${#words[@]} -eq $((depth + 1)) ]]; then echo ${words}; fi`;
}

type Case = readonly [patterns: readonly string[], command: string];

function values(page: HelpPage): Case[] {
  return Object.entries(page.flags).flatMap(([option, flag]): Case[] => {
    const command = flag.topics ? choose(topicsOf(page)) : complete(page.name, flag);
    if (command === undefined) return [];
    return [[spellingsOf(option, flag).map((spelling) => `${page.name} ${spelling}`), command]];
  });
}

function complete(page: string, flag: Flag<unknown>): string | undefined {
  const [tool] = page.split(" ");
  const hint = hintOf(flag);
  switch (hint.kind) {
    case "words":
      return choose(hint.words);
    case "file":
      return `_${tool}_files -f "$2"`;
    case "folder":
      return `_${tool}_files -d "$2"`;
    case "unknown":
      return undefined;
  }
}

function choose(words: readonly string[]): string {
  return `COMPREPLY=($(compgen -W ${quoted(words.join(" "))} -- "$2"))`;
}

/** A pattern of `case`; of none, one that is never met. */
function alternatives(words: readonly string[]): string {
  return words.length === 0 ? "''" : words.map(quoted).join(" | ");
}

function cases(rows: readonly Case[]): string {
  return rows.map(([patterns, command]) => `    ${alternatives(patterns)}) ${command} ;;`)
    .join("\n");
}
