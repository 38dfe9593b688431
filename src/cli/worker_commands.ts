/** The subcommands of `worker`. */
import type { Commands } from "./help/page.ts";

/** A command of one of these names comes after "--". */
export const WORKER_COMMANDS: Commands = {
  dead: {
    summary: "list, show, replay or remove the tasks in NAME.dead",
    load: () => import("./dead.ts"),
  },
  forward: {
    summary: "send tasks on to another broker",
    load: () => import("./forward.ts"),
  },
  page: {
    summary: "serve a page that shows queues and dead tasks",
    load: () => import("./worker_page.ts"),
  },
  queues: {
    summary: "show how many tasks and consumers each queue has",
    load: () => import("./queues.ts"),
  },
};
