/** What is told about `new_task`. */
import { URL_HELP, WAITING_EXIT_HELP } from "./connection_flags.ts";
import { BULK_HELP } from "./bulk_flags.ts";
import type { Flags } from "./flags.ts";
import type { HelpPage } from "./help/page.ts";
import { HTTP_HELP } from "./http_flags.ts";
import { QUEUE_NAMES_HELP } from "./queue_names.ts";
import { SCHEDULE_HELP } from "./schedule_flags.ts";
import { WAIT_HELP } from "./wait_flags.ts";

export function helpOf(flags: Flags): HelpPage {
  return {
    name: "new_task",
    summary: "put tasks on a durable queue",
    usage: [
      "new_task [OPTION]... [WORD]...",
      "new_task [OPTION]... - | --file PATH",
      "new_task [OPTION]... --lines | --null | --ndjson [--file PATH]",
      "new_task [OPTION]... --files PATH...",
      "new_task [OPTION]... --cron EXPR [WORD]... | --schedule FILE",
      "new_task [OPTION]... --http [HOST:]PORT",
    ],
    about: 'Puts a task on a durable queue: the words joined by spaces, or "hello" when that is ' +
      'empty. Prints " [x] Sent ..." only when the broker has confirmed that it has the task on ' +
      'disk or on a quorum of its nodes. Words that begin with "-" come after "--"; the word "-" ' +
      "alone is the task from stdin.",
    examples: [
      ["Send a task:", "new_task -q thumbnails img-42.png"],
      ["Send a task for every line:", "ls | new_task -q thumbnails --lines"],
      [
        "Send a file as a task that is to run in an hour:",
        "new_task -q mails --delay 1h --file mail.txt",
      ],
    ],
    flags,
    essential: [
      "url",
      "queue",
      "file",
      "lines",
      "id",
      "header",
      "delay",
      "wait",
      "timeout",
      "help",
    ],
    words: "file",
    sections: [
      BULK_HELP,
      SCHEDULE_HELP,
      WAIT_HELP,
      HTTP_HELP,
      QUEUE_NAMES_HELP,
      URL_HELP,
      WAITING_EXIT_HELP,
    ],
  };
}
