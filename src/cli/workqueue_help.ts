/** What is told about `workqueue`. */
import type { Flags } from "./flags.ts";
import type { Commands, HelpPage } from "./help/page.ts";

export function helpOf(flags: Flags, commands: Commands): HelpPage {
  return {
    name: "workqueue",
    summary: "new_task, worker and broker in one program",
    usage: ["workqueue new_task|worker|broker [OPTION]... [WORD]..."],
    about:
      "Three programs in one file. Called by the name of one of them, as through a link, it is " +
      "that program, and else the one that the first word names. Each gives up at its start the " +
      "permissions that only the others need.",
    examples: [
      ["Run a broker:", "workqueue broker --data /var/lib/broker"],
      ["Send it a task:", "workqueue new_task -q thumbnails img-42.png"],
      ["Be a worker by name:", "ln -s workqueue worker; ./worker -q thumbnails -- ./resize"],
    ],
    flags,
    commands,
  };
}
