/** `worker queues`: how many tasks and consumers each queue has. */
import { EXIT, UsageError } from "../errors.ts";
import { deadQueue, delayQueue, delayTiers } from "../task/topology.ts";
import { CONNECTION_FLAGS, EXIT_HELP, readEndpoints, URL_HELP } from "./connection_flags.ts";
import { parseCommandLine } from "./command_line.ts";
import { text, toggle, type Values } from "./flags.ts";
import { type HelpPage } from "./help/page.ts";
import { GENERAL_FLAGS } from "./general_flags.ts";
import type { Host } from "./main.ts";
import { QueueBoard, type QueueBoardOptions } from "./queue_board.ts";
import { linesOf, type QueueRow, type QueueView, tableOf } from "./queue_row.ts";
import { DEFAULT_QUEUE, QUEUE_NAMES_HELP, queueList, type QueueShare } from "./queue_names.ts";
import { tell } from "./tell.ts";
import { WORKER_FLAGS } from "./worker_flags.ts";
import { connectorOf } from "./worker_connector.ts";

const fallback = (): readonly QueueShare[] => [];

const QUEUES_FLAGS = {
  ...CONNECTION_FLAGS,
  api: text({
    group: "connection",
    value: "URL",
    minBytes: 1,
    help: "the page of the broker, such as http://node1:9180, to be asked instead of the broker",
  }),
  "token-file": text({
    group: "connection",
    value: "FILE",
    minBytes: 1,
    help: "bearer token that the page requires, on the first line",
    needs: ["api"],
  }),
  queue: { ...queueList, shown: `all that the page knows, or else ${DEFAULT_QUEUE}`, fallback },
  backoff: WORKER_FLAGS.backoff,
  watch: toggle({
    group: "watching",
    help: "show it again every two seconds; on a terminal with how it changes and how it was",
  }),
  json: toggle({
    group: "watching",
    help:
      "print JSON for programs, an object a line for each queue; what is not known is not there",
  }),
  ...GENERAL_FLAGS,
};

export const help: HelpPage = {
  name: "worker queues",
  summary: "show how many tasks and consumers each queue has",
  usage: ["worker queues [OPTION]..."],
  about: `Shows how many tasks are ready, and how many consumers there are, on each work queue, its
delay queues and its dead queue; of one that is paused at our broker it says so. Where the page is
that "broker --http" serves, it says more: all queues when none is named, how many are unacknowledged,
how many come and go a second, and since when the oldest waits. The page of our broker on this machine
is found; --api names another one, also that of "worker page". AMQP itself cannot list queues.
On a terminal names that are too long are cut in the middle; anywhere else they are whole.`,
  examples: [
    ["One of them, as it changes:", "worker queues -q thumbnails --watch"],
    ["For a program:", "worker queues --json | jq 'select(.ready > 1000) | .queue'"],
    ["Of another machine:", "worker queues --api http://node1:9180 --token-file FILE"],
  ],
  flags: QUEUES_FLAGS,
  essential: [
    "queue",
    "watch",
    "json",
    "url",
    "password-file",
    "api",
    "token-file",
    "config",
    "help",
  ],
  sections: [QUEUE_NAMES_HELP, URL_HELP, EXIT_HELP],
};

/** Runs `worker queues`. */
export async function run(host: Host, args: readonly string[]): Promise<number> {
  const { values, words } = await parseCommandLine(QUEUES_FLAGS, args, host.env);
  if (await tell(host, values, () => help)) return EXIT.ok;
  if (words.length > 0) {
    throw new UsageError(
      `worker queues takes options only, and was given ${JSON.stringify(words[0])}`,
    );
  }
  const watch = values.watch ? await import("./queue_watch.ts") : undefined;
  const onScreen = watch !== undefined && !values.json && watch.isScreen(host);
  const troubles: string[] = [];
  // Lines between would tear the screen.
  const warn = (said: string) => onScreen ? troubles.splice(0, 1, said) : host.log.warn(said);
  const note = (said: string) => onScreen ? undefined : host.log.info(said);
  // Names are whole for programs; a terminal of a serial line may not know its size, and says 0.
  const columns = Deno.stdout.isTerminal() ? Deno.consoleSize().columns || 80 : undefined;
  const board = await openView(host, values, { warn, note });
  try {
    if (onScreen) return await watch.watchOnScreen(host, board, troubles);
    if (watch !== undefined) {
      const render = values.json
        ? linesOf
        : (rows: readonly QueueRow[]) => `${tableOf(rows, columns)}\n`;
      return await watch.watchAsLines(host, board, render);
    }
    const rows = await board.rows();
    if (values.json) host.print(linesOf(rows));
    else if (rows.length > 0) host.print(tableOf(rows, columns));
    else host.log.info("there are no queues");
    return board.status;
  } finally {
    await board.close();
  }
}

/** @throws {UsageError | InputError} */
async function openView(
  host: Host,
  values: Values<typeof QUEUES_FLAGS>,
  told: Pick<QueueBoardOptions, "warn" | "note">,
): Promise<QueueView> {
  const { api: url, "token-file": tokenFile } = values;
  const named = values.queue.map(({ name }) => name);
  if (url === undefined) {
    const queues = named.length > 0 ? named : [DEFAULT_QUEUE];
    const names = queues.flatMap((name) => [
      name,
      ...delayTiers(values.backoff).map((ms) => delayQueue(name, ms).name),
      deadQueue(name).name,
    ]);
    return new QueueBoard({ connector: connectorOf(values, host), named, queues, names, ...told });
  }
  const { protocol, username = "", password = "" } = URL.parse(url) ?? {};
  if (!/^https?:$/.test(protocol ?? "") || username + password !== "") {
    throw new UsageError(
      "--api must be an http:// or https:// URL without a login (--token-file is for that), and " +
        "is another one",
    );
  }
  const [{ QueuePage }, { readToken }] = await Promise.all([
    import("./queue_page.ts"),
    import("./tokens.ts"),
  ]);
  const { vhost } = readEndpoints(values, host)[0]!;
  const token = tokenFile === undefined ? undefined : readToken(host, tokenFile);
  return new QueuePage({ url, token, names: named, vhost });
}
