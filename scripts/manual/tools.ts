/** What the tools tell about themselves. */
import { help as brokerHelp } from "../../src/broker.ts";
import type { HelpPage } from "../../src/cli/help/page.ts";
import { pagesOf, type Tree, treeOf } from "../../src/cli/help/tree.ts";
import { help as newTaskHelp } from "../../src/new_task.ts";
import { help as workerHelp } from "../../src/worker.ts";

/** Every tool with its subcommands. */
export const trees: readonly Tree[] = await Promise.all(
  [newTaskHelp, workerHelp, brokerHelp].map(async (help) => await treeOf(await help())),
);

/** The pages of all of them. */
export const pages: readonly HelpPage[] = trees.flatMap(pagesOf);
