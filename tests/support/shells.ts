/** What real shells offer when Tab is pressed. */
import { existsSync } from "node:fs";
import { installed, spawn } from "./process.ts";
import { type TempDir, tempDir } from "./temp.ts";

export type Shell = "bash" | "zsh" | "fish";

const BASH_COMPLETION = "/usr/share/bash-completion/bash_completion";

/** Whether a shell can be asked here. */
export function canAsk(shell: Shell): boolean {
  return installed(shell) && (shell === "fish" || installed("script")) &&
    (shell !== "bash" || existsSync(BASH_COMPLETION));
}

/**
 * Types each line in an interactive shell and asks for its completions.
 *
 * @param scripts the completions of the tools, as the tools print them
 * @param lines without the Tab at the end
 * @returns for each line the words that are offered
 */
export async function ask(
  shell: Shell,
  scripts: readonly string[],
  lines: readonly string[],
  cwd?: string,
): Promise<string[][]> {
  if (shell === "fish") {
    await using dir = await tempDir();
    const files = await writeScripts(dir, scripts);
    return await askFish(files, lines, cwd ?? dir.path);
  }
  const answers: string[][] = [];
  // Two keys each, which no terminal mode takes for itself: list, clear the line, print a mark.
  for await (const shown of typeInto(shell, scripts, lines, "\x18l\x18k\x18m", cwd)) {
    answers.push(wordsOf(shown, lines[answers.length]!));
  }
  return answers;
}

/** What each line is after Tab was pressed at its end. */
export async function complete(
  shell: "bash" | "zsh",
  scripts: readonly string[],
  lines: readonly string[],
  cwd?: string,
): Promise<string[]> {
  const completed: string[] = [];
  for await (const shown of typeInto(shell, scripts, lines, "\t\x18m\x18k", cwd)) {
    completed.push(/@\d+@(.*)/.exec(shown)![1]!.replace(/\r$/, ""));
  }
  return completed;
}

async function writeScripts(dir: TempDir, scripts: readonly string[]): Promise<string[]> {
  for (const [i, script] of scripts.entries()) await Deno.writeTextFile(dir.file(`${i}`), script);
  return scripts.map((_, i) => dir.file(`${i}`));
}

/** What an interactive shell shows of each line and the keys behind it, which print a mark. */
async function* typeInto(
  shell: "bash" | "zsh",
  scripts: readonly string[],
  lines: readonly string[],
  keys: string,
  cwd?: string,
): AsyncGenerator<string> {
  await using dir = await tempDir();
  const files = await writeScripts(dir, scripts);
  const start = cwd ?? dir.path;
  const rc = shell === "bash" ? BASH_RC : ZSH_RC;
  const sources = files.map((file) => `source ${file}\n`).join("");
  await Deno.writeTextFile(dir.file(".zshrc"), rc.replace("SOURCES", sources));
  const command = shell === "bash"
    ? `bash --noprofile --rcfile ${dir.file(".zshrc")} -i`
    : "zsh -i";
  await using terminal = spawn("script", {
    args: ["-qec", `stty cols 200 rows 500; exec ${command}`, "/dev/null"],
    cwd: start,
    env: { ZDOTDIR: dir.path, HOME: dir.path, TERM: "xterm", INPUTRC: "/dev/null" },
    stdin: "open",
    killOnDispose: true,
  });
  await terminal.waitForLine(/@READY@/);
  for (const [i, line] of lines.entries()) {
    const from = terminal.stdout.length;
    await terminal.write(line + keys);
    await terminal.waitForLine(new RegExp(`@${i + 1}@`), undefined, from);
    yield terminal.stdout.slice(from).join("\n");
  }
}

const BASH_RC = `
. ${BASH_COMPLETION}
SOURCES
PS1='> '
bind 'set completion-query-items 0'
bind 'set page-completions off'
bind 'set completion-display-width 0'
bind 'set enable-bracketed-paste off'
bind 'set colored-stats off'
bind '"\\C-xl": possible-completions'
bind '"\\C-xk": kill-whole-line'
bind -x '"\\C-xm": echo; echo "@$((++marks))@$READLINE_LINE"'
echo @READY@
`;

const ZSH_RC = `
PS1='> ' LISTMAX=100000
unset zle_bracketed_paste
autoload -U compinit && compinit -u -D
SOURCES
zstyle ':completion:*' verbose no
zstyle ':completion:*' list-separator ''
bindkey -e
bindkey '^Xl' list-choices
bindkey '^Xk' kill-buffer
mark() { zle -I; print; print -r -- "@$((++marks))@$BUFFER" }
zle -N mark
bindkey '^Xm' mark
precmd() { print @READY@; precmd() { } }
`;

/** Words in what a terminal shows, but for those that were typed. */
function wordsOf(shown: string, typed: string): string[] {
  const plain = shown
    // Behind the last word the cursor goes up to the typed line.
    // deno-lint-ignore no-control-regex
    .replace(/\x1b\[\d*A/g, "\n")
    // deno-lint-ignore no-control-regex
    .replace(/\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\x07|\r|[^\n]\x08/g, " ");
  return plain.split("\n")
    .filter((line) => !line.includes(typed.trim()) && !/^\s*(>.*|@\d+@)?\s*$/.test(line))
    .flatMap((line) => line.trim().split(/\s+/));
}

async function askFish(
  files: readonly string[],
  lines: readonly string[],
  cwd: string,
): Promise<string[][]> {
  const sources = files.map((file) => `source ${file}; `).join("");
  const asks = lines.map((line) => `complete -C '${line.replace(/[\\']/g, "\\$&")}'; echo @END@`)
    .join("; ");
  await using fish = spawn("fish", { args: ["--no-config", "-c", sources + asks], cwd });
  const { stdout, stderr, code } = await fish.ended(60_000);
  if (code !== 0 || stderr !== "") throw new Error(`fish ended with ${code}: ${stderr}`);
  return stdout.split("@END@\n").slice(0, -1).map((answer, i) => {
    const words = answer.split("\n").filter((line) => line !== "").map((line) =>
      line.split("\t")[0]!
    );
    // Of "--option=va" others complete the value, fish the whole.
    const before = /\S*=/.exec(lines[i]!.split(" ").at(-1)!)?.[0] ?? "";
    return words.map((word) => word.startsWith(before) ? word.slice(before.length) : word);
  });
}
