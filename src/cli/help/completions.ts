/** Completions for shells, from the tables of the flags. */
import { bashCompletions } from "./bash.ts";
import { fishCompletions } from "./fish.ts";
import type { HelpPage } from "./page.ts";
import { treeOf } from "./tree.ts";
import { zshCompletions } from "./zsh.ts";

const RENDER = { bash: bashCompletions, zsh: zshCompletions, fish: fishCompletions };

export type Shell = keyof typeof RENDER;

export const SHELLS: readonly Shell[] = ["bash", "zsh", "fish"];

/** The script that a shell has to read to complete the command lines of a tool. */
export async function renderCompletions(shell: Shell, page: HelpPage): Promise<string> {
  return RENDER[shell](await treeOf(page));
}
