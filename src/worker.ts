/** `worker`: takes tasks from a queue, does them, and acknowledges each only when it is done. */
import { Connector } from "./amqp/connection.ts";
import { Consumer } from "./amqp/consumer.ts";
import {
  CONNECTION_FLAGS,
  EXIT_HELP,
  QUEUE_FLAGS,
  readEndpoints,
  readQueuePolicy,
  URL_HELP,
} from "./cli/broker_flags.ts";
import {
  duration,
  type HelpPage,
  integer,
  parseCommandLine,
  renderHelp,
  toggle,
} from "./cli/flags.ts";
import { type Host, runMain, VERSION } from "./cli/main.ts";
import { onSignals } from "./cli/signals.ts";
import { EXIT, UsageError } from "./errors.ts";
import { dotsHandler } from "./handlers/dots.ts";
import { Pool } from "./worker/pool.ts";

const FLAGS = {
  ...CONNECTION_FLAGS,
  ...QUEUE_FLAGS,
  concurrency: integer({
    min: 1,
    max: 65535,
    default: 1,
    help: "tasks at the same time; the broker sends no more than these (prefetch)",
  }),
  grace: duration({
    default: "25s",
    help: "time to finish running tasks after the first SIGINT or SIGTERM",
  }),
  help: toggle({ help: "print this page", alone: true }),
  version: toggle({ help: "print the version", alone: true }),
};

const HELP: HelpPage = {
  usage: ["worker [OPTION]..."],
  about:
    `Takes tasks from a queue, one at a time unless told otherwise, works one second for every dot
in a task, and acknowledges it only then. A worker that is killed loses nothing: the broker gives
its tasks to another one. When the connection is lost, it connects again, for ever.

The first SIGINT or SIGTERM takes no more tasks, finishes the running ones within --grace, puts
the rest back and exits with 0; the second one ends it at once with 130 or 143.`,
  flags: FLAGS,
  sections: [URL_HELP, EXIT_HELP],
};

if (import.meta.main) await runMain("worker", run);

async function run(host: Host): Promise<number> {
  const { values, words } = await parseCommandLine(FLAGS, host.args, host.env);
  if (values.help) return said(host, renderHelp(HELP));
  if (values.version) return said(host, `worker ${VERSION}\n`);
  if (words.length > 0) {
    throw new UsageError(`worker takes options only, and was given ${JSON.stringify(words[0])}`);
  }

  const endpoints = readEndpoints(values, host);
  const pool = new Pool({ handler: dotsHandler({ print: host.print }), log: host.log });
  let connections = 0;
  const consumer = new Consumer({
    connector: new Connector({
      endpoints,
      identity: { name: `worker ${Deno.pid}`, version: VERSION },
      log: host.log,
    }),
    queue: readQueuePolicy(values),
    prefetch: values.concurrency,
    log: host.log,
    onDelivery: (delivery) => pool.run(delivery),
    onReady: () => {
      if (connections++ === 0) host.print(" [*] Waiting for messages. To exit press CTRL+C\n");
      else host.log.info("connected again");
    },
  });

  const signals = onSignals(() => drain(consumer, pool, values.grace, host));
  try {
    await consumer.run();
  } finally {
    signals.dispose();
  }
  return EXIT.ok;
}

function said(host: Host, text: string): number {
  host.print(text);
  return EXIT.ok;
}

/** Finishes what is running, as long as it may take, then lets go of the rest. */
async function drain(consumer: Consumer, pool: Pool, grace: number, host: Host): Promise<void> {
  if (pool.running > 0) {
    host.log.info(`no more tasks; waiting up to ${grace / 1000} s for ${pool.running} running`);
  }
  const timer = setTimeout(() => pool.interrupt(), grace);
  await consumer.stop();
  await pool.idle();
  clearTimeout(timer);
  await consumer.close();
}
