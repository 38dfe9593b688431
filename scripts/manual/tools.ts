/** What the tools tell about themselves. */
import { help as brokerHelp } from "../../src/broker.ts";
import type { HelpPage } from "../../src/cli/help/page.ts";
import { pagesOf, type Tree, treeOf } from "../../src/cli/help/tree.ts";
import { help as newTaskHelp } from "../../src/new_task.ts";
import { help as workerHelp } from "../../src/worker.ts";
import { help as workqueueHelp } from "../../src/workqueue.ts";

/** Every tool with its subcommands; the last one has all others for subcommands. */
export const trees: readonly Tree[] = await Promise.all(
  [newTaskHelp, workerHelp, brokerHelp, workqueueHelp].map(async (help) => treeOf(await help())),
);

/** The pages of all of them, each once. */
export const pages: readonly HelpPage[] = [
  ...trees.slice(0, -1).flatMap(pagesOf),
  trees.at(-1)!.page,
];
