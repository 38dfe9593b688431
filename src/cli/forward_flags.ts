/** The options of `worker forward`, and what they say. */
import { redact } from "../amqp/url.ts";
import type { Endpoint } from "../amqp/url.ts";
import type { QueuePolicy } from "../amqp/declare.ts";
import { isLocalhost, isLoopback } from "../amqp/loopback.ts";
import { UsageError } from "../errors.ts";
import type { Destination } from "../handlers/forward.ts";
import { SHORT_STRING_BYTES } from "../task/short_string.ts";
import { MAX_QUEUE_NAME_BYTES, queueNameFault } from "../task/topology.ts";
import {
  CONNECTION_FLAGS,
  QUEUE_FLAGS,
  readQueuePolicy,
  type Sourced,
} from "./connection_flags.ts";
import { parseSize } from "./byte_size.ts";
import { type Flag, integer, text, toggle, type Values } from "./flags.ts";
import { GENERAL_FLAGS } from "./general_flags.ts";
import { LOG_FLAGS } from "./log_flags.ts";
import { queueArguments } from "./queue_arguments.ts";
import { queueList } from "./queue_names.ts";
import { WORKER_FLAGS } from "./worker_flags.ts";

const to: Flag<Sourced | undefined> = {
  group: "target",
  value: "URL[,URL]",
  help: "the other broker, or several addresses of it to try in turn",
  env: "TO_AMQP_URL",
  fallback: () => undefined,
  parse: (texts, source) => ({ text: texts.at(-1)!, source }),
};

const toQueue: Flag<string | undefined> = {
  group: "target",
  value: "NAME",
  help: "queue there (default: of the same name as here)",
  fallback: () => undefined,
  parse: (texts, source) => {
    const name = texts.at(-1)!;
    const fault = queueNameFault(name, MAX_QUEUE_NAME_BYTES);
    if (fault === undefined) return name;
    throw new UsageError(`${source} must have a name ${fault.replace("and one", "and")}`);
  },
};

const LEAST_BYTES_PER_SECOND = 64;

const bytesRate: Flag<number | undefined> = {
  group: "target",
  value: "SIZE/s",
  help: "send at most so many bytes a second to the other broker, such as 64k/s",
  fallback: () => undefined,
  parse: (texts, source) => {
    const given = texts.at(-1)!;
    const bytes = parseSize(given.replace(/\/s$/i, ""));
    if (bytes !== undefined && bytes >= LEAST_BYTES_PER_SECOND) return bytes;
    throw new UsageError(
      `${source} must be a number of bytes a second such as 64k/s or 2M/s, of at least ` +
        `${LEAST_BYTES_PER_SECOND}, and is ${JSON.stringify(given)}`,
    );
  },
};

export const FORWARD_FLAGS = {
  ...CONNECTION_FLAGS,
  queue: queueList,
  to,
  "to-password-file": text({
    group: "target",
    value: "PATH",
    help: "file with the password there; read again for every connection",
  }),
  "to-cacert": text({
    group: "target",
    value: "PATH",
    help: "PEM file of the certificate authorities to trust",
  }),
  "to-cert": text({ group: "target", value: "PATH", help: "PEM file of the client certificate" }),
  "to-key": text({
    group: "target",
    value: "PATH",
    help: "PEM file of the client certificate's key",
  }),
  "to-tls-server-name": text({
    group: "target",
    value: "NAME",
    help: "name to expect in that broker's certificate instead of the host",
  }),
  "to-tls-insecure": toggle({ group: "target", help: "do not check that broker's certificate" }),
  "to-queue": toQueue,
  "to-queue-type": QUEUE_FLAGS["queue-type"],
  "to-queue-arg": queueArguments,
  "to-exchange": text({
    group: "target",
    maxBytes: SHORT_STRING_BYTES,
    minBytes: 1,
    value: "NAME",
    help: "exchange there instead of a queue; it must be there",
  }),
  "to-routing-key": text({
    group: "target",
    maxBytes: SHORT_STRING_BYTES,
    value: "KEY",
    help: "routing key for --to-exchange (default: the one that each task was sent with)",
  }),
  "no-declare": toggle({
    group: "queue",
    help: "do not create queues, here or there; they must be there",
  }),
  "max-hops": integer({
    group: "outcome",
    min: 1,
    max: 1_000,
    default: 5,
    help: "a task that was forwarded so often before goes to NAME.dead",
  }),
  rate: { ...WORKER_FLAGS.rate, help: "send at most so many tasks a second, a minute or an hour" },
  "bytes-rate": bytesRate,
  "delay-queue-type": WORKER_FLAGS["delay-queue-type"],
  "dead-ttl": WORKER_FLAGS["dead-ttl"],
  "consumer-priority": WORKER_FLAGS["consumer-priority"],
  "host-memory": WORKER_FLAGS["host-memory"],
  metrics: WORKER_FLAGS.metrics,
  ...LOG_FLAGS,
  "exit-when-empty": WORKER_FLAGS["exit-when-empty"],
  "idle-timeout": WORKER_FLAGS["idle-timeout"],
  "max-tasks": WORKER_FLAGS["max-tasks"],
  "max-runtime": WORKER_FLAGS["max-runtime"],
  "limit-exit-code": {
    ...WORKER_FLAGS["limit-exit-code"],
    needs: ["exit-when-empty", "idle-timeout", "max-tasks", "max-runtime"],
  },
  "connect-timeout": {
    ...WORKER_FLAGS["connect-timeout"],
    help: "end with 75 after so long without one of the brokers (default 30s when one of these " +
      "four is given, else for ever)",
  },
  grace: {
    ...WORKER_FLAGS.grace,
    help: "time for what is on its way to be confirmed after the first SIGINT or SIGTERM",
  },
  ...GENERAL_FLAGS,
};

export type ForwardValues = Values<typeof FORWARD_FLAGS>;

/** The options of the other broker as those of a broker. @throws {UsageError} */
export function targetValues(values: ForwardValues): Values<typeof CONNECTION_FLAGS> {
  if (values.to === undefined) {
    throw new UsageError(
      "worker forward needs the URL of the other broker, by --to or TO_AMQP_URL, and has none",
    );
  }
  return {
    url: values.to,
    "password-file": values["to-password-file"],
    cacert: values["to-cacert"],
    cert: values["to-cert"],
    key: values["to-key"],
    "tls-server-name": values["to-tls-server-name"],
    "tls-insecure": values["to-tls-insecure"],
  };
}

/** Where tasks go. @throws {UsageError} */
export function readDestination(values: ForwardValues): Destination {
  const exchange = values["to-exchange"];
  const forQueue = (["to-queue", "to-queue-type", "to-queue-arg"] as const).find((name) =>
    name === "to-queue-arg" ? values[name].length > 0 : values[name] !== undefined
  );
  if (exchange !== undefined && forQueue !== undefined) {
    throw new UsageError(
      `tasks go to an exchange or to a queue, and both --to-exchange and --${forQueue} were given`,
    );
  }
  if (exchange !== undefined) return { exchange, routingKey: values["to-routing-key"] };
  if (values["to-routing-key"] !== undefined) {
    throw new UsageError("--to-routing-key is for --to-exchange, which is not given");
  }
  const queues = new Map<string, QueuePolicy>();
  for (const { name } of values.queue) {
    queues.set(
      name,
      readQueuePolicy({
        queue: values["to-queue"] ?? name,
        "queue-type": values["to-queue-type"],
        "queue-arg": values["to-queue-arg"],
        "no-declare": values["no-declare"],
      }),
    );
  }
  return { queues };
}

/** @throws {UsageError} tasks would go to the queue that they come from */
export function requireAnotherQueue(
  here: readonly Endpoint[],
  there: readonly Endpoint[],
  destination: Destination,
): void {
  if (!("queues" in destination)) return;
  const names = new Set(here.map(place));
  const same = there.find((endpoint) => names.has(place(endpoint)));
  if (same === undefined) return;
  for (const { name } of destination.queues.values()) {
    if (!destination.queues.has(name)) continue;
    throw new UsageError(
      `the queue there must be another one than the queues here, and ${JSON.stringify(name)} at ` +
        `${redact(same)} is one of them`,
    );
  }
}

/** A virtual host of a broker. */
function place({ host, port, vhost }: Endpoint): string {
  const name = isLocalhost(host) || isLoopback(host) ? "localhost" : host;
  return JSON.stringify([name, port, vhost]);
}
