/** A tool with all its subcommands. */
import type { HelpPage } from "./page.ts";

/** A page, and those of its subcommands by their names. */
export interface Tree {
  readonly page: HelpPage;
  readonly branches: ReadonlyMap<string, Tree>;
}

/** Loads the subcommands of a page, and theirs. */
export async function treeOf(page: HelpPage): Promise<Tree> {
  const branches = new Map<string, Tree>();
  for (const word of Object.keys(page.commands ?? {})) {
    branches.set(word, await treeOf((await pageBelow(page, word))!));
  }
  return { page, branches };
}

/**
 * Loads the page of a subcommand. It is named as it is called: below a page "workqueue" that of a
 * tool is "workqueue worker".
 *
 * @returns undefined: there is no such subcommand
 */
export async function pageBelow(page: HelpPage, word: string): Promise<HelpPage | undefined> {
  if (!Object.hasOwn(page.commands ?? {}, word)) return undefined;
  const { help } = await page.commands![word]!.load();
  return { ...(typeof help === "function" ? await help() : help), name: `${page.name} ${word}` };
}

/** The page of a tree, and all below it. */
export function pagesOf({ page, branches }: Tree): HelpPage[] {
  return [page, ...[...branches.values()].flatMap(pagesOf)];
}
