/** `worker queues`: how many tasks and consumers each queue has. */
import { EXIT, UsageError } from "../errors.ts";
import { deadQueue, delayQueue, delayTiers } from "../task/topology.ts";
import { CONNECTION_FLAGS, EXIT_HELP, URL_HELP } from "./broker_flags.ts";
import { parseCommandLine } from "./command_line.ts";
import { toggle } from "./flags.ts";
import { type HelpPage } from "./help/page.ts";
import { GENERAL_FLAGS } from "./general_flags.ts";
import type { Host } from "./main.ts";
import { QueueBoard, tableOf } from "./queue_board.ts";
import { QUEUE_NAMES_HELP, queueList } from "./queue_names.ts";
import { tell } from "./tell.ts";
import { WORKER_FLAGS } from "./worker_flags.ts";
import { connectorOf } from "./worker_connector.ts";

const QUEUES_FLAGS = {
  ...CONNECTION_FLAGS,
  queue: queueList,
  backoff: WORKER_FLAGS.backoff,
  watch: toggle({
    group: "watching",
    help: "show it again every two seconds; on a terminal with how it changes and how it was",
  }),
  ...GENERAL_FLAGS,
};

export const help: HelpPage = {
  name: "worker queues",
  summary: "show how many tasks and consumers each queue has",
  usage: ["worker queues [OPTION]..."],
  about: `Shows how many tasks are ready, and how many consumers there are, on each work queue, its
delay queues and its dead queue; of one that is paused at our broker it says so. AMQP does not
tell how many are unacknowledged.`,
  examples: [
    ["Once:", "worker queues -q thumbnails"],
    ["As it changes:", "worker queues -q high,low --watch"],
    ["Of another broker:", "worker queues -u amqp://ann@node1 --password-file FILE"],
  ],
  flags: QUEUES_FLAGS,
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
  const names = values.queue.flatMap(({ name }) => [
    name,
    ...delayTiers(values.backoff).map((ms) => delayQueue(name, ms).name),
    deadQueue(name).name,
  ]);
  const watch = values.watch ? await import("./queue_watch.ts") : undefined;
  const onScreen = watch !== undefined && watch.isScreen(host);
  const troubles: string[] = [];
  const board = new QueueBoard({
    connector: connectorOf(values, host),
    names,
    // Lines between would tear the screen.
    warn: (sentence) => onScreen ? troubles.splice(0, 1, sentence) : host.log.warn(sentence),
  });
  try {
    if (onScreen) return await watch.watchOnScreen(host, board, troubles);
    if (watch !== undefined) return await watch.watchAsLines(host, board);
    host.print(tableOf(await board.rows()));
    return board.status;
  } finally {
    await board.close();
  }
}
