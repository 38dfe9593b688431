/** The subcommands of `broker`. */
import type { Commands } from "./help/page.ts";

export const BROKER_COMMANDS: Commands = {
  backup: {
    summary: "copy the data into one file, also while the broker runs",
    load: () => import("./backup.ts"),
  },
  check: {
    summary: "say what is in the data, what is damaged, and what can be read",
    load: () => import("./check.ts"),
  },
  restore: {
    summary: "make a folder of data from a backup",
    load: () => import("./restore.ts"),
  },
};
