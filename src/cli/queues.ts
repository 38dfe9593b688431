/** `worker queues`: how many tasks and consumers each queue has. */
import type { Connector } from "../amqp/connection.ts";
import { inspectQueue, isMissing, isPaused } from "../amqp/declare.ts";
import type { Transport } from "../amqp/transport.ts";
import { EXIT, ToolError, UsageError } from "../errors.ts";
import { escapeControls } from "../observe/log.ts";
import { deadQueue, delayQueue, delayTiers } from "../task/topology.ts";
import { sleep } from "../time/sleep.ts";
import { CONNECTION_FLAGS, EXIT_HELP, URL_HELP } from "./broker_flags.ts";
import { parseCommandLine } from "./command_line.ts";
import { toggle } from "./flags.ts";
import { type HelpPage } from "./help/page.ts";
import { GENERAL_FLAGS } from "./general_flags.ts";
import type { Host } from "./main.ts";
import { QUEUE_NAMES_HELP } from "./queue_names.ts";
import { tell } from "./tell.ts";
import { onSignals } from "./signals.ts";
import { WORKER_FLAGS } from "./worker_flags.ts";
import { connectorOf } from "./worker_connector.ts";

const QUEUES_FLAGS = {
  ...CONNECTION_FLAGS,
  queue: WORKER_FLAGS.queue,
  backoff: WORKER_FLAGS.backoff,
  watch: toggle({ group: "watching", help: "show it again every two seconds" }),
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
  const board = new Board(connectorOf(values, host), names, host);
  try {
    if (!values.watch) {
      host.print(await board.table());
      return board.status;
    }
    const ending = new AbortController();
    const signals = onSignals({ end: () => ending.abort() });
    while (!ending.signal.aborted && !host.unheard) {
      const page = await board.table();
      await host.print(Deno.stdout.isTerminal() ? `\x1b[H\x1b[2J${page}` : `${page}\n`);
      await sleep(2_000, ending.signal);
    }
    signals.dispose();
    return EXIT.ok;
  } finally {
    await board.close();
  }
}

/** Shows queues, also when the broker cannot say anything of some of them. */
class Board {
  readonly #connector: Connector;
  readonly #names: readonly string[];
  readonly #host: Host;
  #transport: Transport | undefined;
  /** Of the first queue that could not be looked at. */
  status: number = EXIT.ok;

  constructor(connector: Connector, names: readonly string[], host: Host) {
    this.#connector = connector;
    this.#names = names;
    this.#host = host;
  }

  /** Queues that do not exist are left out, except the work queues, which are named first. */
  async table(): Promise<string> {
    const rows: string[][] = [["queue", "ready", "consumers"]];
    for (const name of this.#names) {
      const numbers = await this.#look(name);
      if (numbers !== undefined) rows.push([escapeControls(name), ...numbers]);
    }
    return aligned(rows);
  }

  async close(): Promise<void> {
    await this.#transport?.shutdown();
  }

  /** @returns undefined for a queue that is not worth a line */
  async #look(name: string): Promise<string[] | undefined> {
    // RabbitMQ 4 ends the connection when the queue's node is down.
    if (this.#transport === undefined || this.#transport.isEnded) {
      this.#transport = await this.#connector.connect();
    }
    try {
      const { messageCount, consumerCount } = await inspectQueue(this.#transport, name);
      // A paused queue says that it has no consumers.
      const paused = consumerCount === 0 && await isPaused(this.#transport, name);
      return [String(messageCount), paused ? "paused" : String(consumerCount)];
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      if (isMissing(error)) {
        return /\.(dead|delay\.\d+)$/.test(name) ? undefined : ["missing", "-"];
      }
      this.#host.log.warn(error.message);
      this.status ||= error.exitCode;
      return ["unavailable", "-"];
    }
  }
}

function aligned(rows: readonly string[][]): string {
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map(([name, ...numbers]) =>
    [name!.padEnd(widths[0]!), ...numbers.map((text, i) => text.padStart(widths[i + 1]!))]
      .join("  ") + "\n"
  ).join("");
}
