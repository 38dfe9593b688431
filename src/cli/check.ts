/** `broker check`: what is in the data of a broker, what is damaged, and what can be read. */
import { type Checkup, checkUp } from "../broker/store/still/checkup.ts";
import { EXIT, UsageError } from "../errors.ts";
import { escapeControls, jsonLine } from "../observe/log.ts";
import { inColumns } from "./columns.ts";
import { parseCommandLine } from "./command_line.ts";
import { DATA_EXIT_HELP, DATA_FLAGS } from "./data_flags.ts";
import { toggle } from "./flags.ts";
import type { HelpPage } from "./help/page.ts";
import type { Host } from "./main.ts";
import { onSignals } from "./signals.ts";
import { tell } from "./tell.ts";

const CHECK_FLAGS = {
  ...DATA_FLAGS,
  json: toggle({ group: "general", help: "print one JSON object for programs" }),
};

export const help: HelpPage = {
  name: "broker check",
  summary: "say what is in the data, what is damaged, and what can be read",
  usage: ["broker check [--data DIR|FILE] [--json]"],
  about:
    "Reads every message of a folder of data, or of a backup, and says by queue how many are " +
    "counted and how many can be read, what is damaged, and whether it is a copy that was made " +
    "while a broker ran. It changes nothing. While a broker uses the data it checks a copy beside " +
    "them (broker.db.check), for which there must be free disk, and which is gone with it.",
  examples: [
    ["The data:", "broker check -d /var/lib/broker"],
    ["A copy that was made while the broker ran:", "broker check /backup/folder"],
    ["For a program:", "broker check --json /backup/broker.db | jq -r '.damage[]'"],
  ],
  flags: CHECK_FLAGS,
  sections: [DATA_EXIT_HELP],
  words: "file",
};

/** Runs `broker check`. */
export async function run(host: Host, args: readonly string[]): Promise<number> {
  const { values, words } = await parseCommandLine(CHECK_FLAGS, args, host.env);
  if (await tell(host, values, () => help)) return EXIT.ok;
  if (words.length > 1) {
    throw new UsageError(`broker check takes one file or folder, and was given ${words.length}`);
  }
  const found = await check(words[0] ?? values.data);
  found.queues.sort((one, other) => one.vhost < other.vhost ? -1 : 1);
  await host.print(values.json ? jsonLine(factsOf(found)) : textOf(found));
  return isWhole(found) ? EXIT.ok : EXIT.badData;
}

function isWhole({ faults, unknown }: Checkup): boolean {
  return faults.length === 0 && unknown === undefined;
}

/** For programs. */
function factsOf(found: Checkup) {
  const { path, isRunning, isCopy, queues, faults, unknown } = found;
  return {
    path,
    whole: isWhole(found),
    ...(unknown === undefined ? {} : { not_checked: unknown }),
    in_use: isRunning,
    copy: isCopy,
    queues: queues.map(({ vhost, name, counted, read }) => (
      { vhost, queue: name, messages: counted, readable: read }
    )),
    damage: faults,
  };
}

/** For people. */
function textOf({ path, isRunning, isCopy, queues, faults, unknown }: Checkup): string {
  if (unknown !== undefined) return `${path}: not checked, ${unknown}\n`;
  const rows = queues
    .map(({ vhost, name, counted, read }) => [vhost, name, String(counted), String(read)]);
  const cells = [["vhost", "queue", "messages", "readable"], ...rows];
  const table = rows.length === 0 ? "" : inColumns(cells.map((row) => row.map(escapeControls)), 2);
  const damage = faults.map((fault) => `damaged: ${escapeControls(fault)}\n`);
  const use = isRunning
    ? ", in use by a broker"
    : isCopy
    ? ", a copy of data that a broker was using or had crashed on"
    : "";
  const state = faults.length === 0 ? "whole" : "damaged";
  const none = rows.length === 0 ? ", no queues" : "";
  return `${table}${damage.join("")}${path}: ${state}${none}${use}\n`;
}

/** An end by a signal leaves no copy. */
async function check(place: string): Promise<Checkup> {
  let signals: ReturnType<typeof onSignals> | undefined;
  function end(status: number, files: readonly string[]): void {
    for (const file of files) {
      try {
        Deno.removeSync(file);
      } catch {
        // It was not there yet.
      }
    }
    Deno.exit(status);
  }
  try {
    return await checkUp(place, (files) => {
      signals?.dispose();
      // Nothing would hear a signal while the copy is read: then it ends the process by itself.
      signals = files.length === 0 ? undefined : onSignals({ end: (status) => end(status, files) });
    });
  } finally {
    signals?.dispose();
  }
}
