/** `broker backup`: copies the data of a broker, which may be running, into one file. */
import { backUp } from "../broker/store/still/backup.ts";
import { EXIT, UsageError } from "../errors.ts";
import { parseCommandLine } from "./command_line.ts";
import { DATA_EXIT_HELP, DATA_FLAGS, describe } from "./data_flags.ts";
import type { HelpPage } from "./help/page.ts";
import type { Host } from "./main.ts";
import { tell } from "./tell.ts";

export const help: HelpPage = {
  name: "broker backup",
  summary: "copy the data into one file, also while the broker runs",
  usage: ["broker backup [--data DIR] FILE"],
  about: "Copies the data into FILE, with everything that was confirmed before it began. The " +
    "broker may run and take tasks; it is asked by a file in its folder, so this is to be run by " +
    "its user. FILE gets its name when it is on disk and its pages were checked; a backup of that " +
    "name is replaced.",
  examples: [
    ["Each night:", "broker backup -d /var/lib/broker /backup/broker.db"],
    ["And see that every message can be read:", "broker check /backup/broker.db"],
    ["In place of data that are lost:", "broker restore -d /var/lib/broker /backup/broker.db"],
  ],
  flags: DATA_FLAGS,
  sections: [
    [
      "What a restored backup repeats",
      `  It is the state of the moment at which it was made. Tasks that were done since then are done once
  more, with the same ids, so that --dedupe-file and handlers that know the id find them out. Tasks
  that came since then are not in it. Queues with x-message-deduplication have forgotten what came
  since then.`,
    ],
    DATA_EXIT_HELP,
  ],
  words: "file",
};

/** Runs `broker backup`. */
export async function run(host: Host, args: readonly string[]): Promise<number> {
  const { values, words } = await parseCommandLine(DATA_FLAGS, args, host.env);
  if (await tell(host, values, () => help)) return EXIT.ok;
  const [file] = words;
  if (words.length !== 1 || !file) {
    throw new UsageError(`broker backup needs the name of one file, and was given ${words.length}`);
  }
  host.print(`${file}: ${describe(await backUp(values.data, file))}\n`);
  return EXIT.ok;
}
