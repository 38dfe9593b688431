/** A tool with all its subcommands. */
import type { HelpPage } from "./page.ts";

/** A page, and those of its subcommands by their names. */
export interface Tree {
  readonly page: HelpPage;
  readonly branches: ReadonlyMap<string, Tree>;
}

/**
 * Loads the subcommands of a page, and theirs. Each is named as it is called: below a page
 * "workqueue" that of a tool is "workqueue worker".
 */
export async function treeOf(page: HelpPage): Promise<Tree> {
  const branches = new Map<string, Tree>();
  for (const [word, { load }] of Object.entries(page.commands ?? {})) {
    const { help } = await load();
    const below = typeof help === "function" ? await help() : help;
    branches.set(word, await treeOf({ ...below, name: `${page.name} ${word}` }));
  }
  return { page, branches };
}

/** The page of a tree, and all below it. */
export function pagesOf({ page, branches }: Tree): HelpPage[] {
  return [page, ...[...branches.values()].flatMap(pagesOf)];
}
