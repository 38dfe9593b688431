/** The options by which a tool finds its broker and its queue, the same for all of them. */
import type { QueuePolicy } from "../amqp/declare.ts";
import { PasswordFile } from "../amqp/password_file.ts";
import type { WritableTlsTrust } from "../amqp/tls_trust.ts";
import { DEFAULT_URL, type Endpoint, formatUrl, hasPassword, parseUrls } from "../amqp/url.ts";
import { UsageError } from "../errors.ts";
import { choice, type Flag, text, toggle, type Values } from "./flags.ts";
import type { Host } from "./main.ts";
import { argumentTable, queueArguments } from "./queue_arguments.ts";
import { queue } from "./queue_names.ts";

/** A text with its origin, for errors that are found later than the command line is read. */
export interface Sourced {
  readonly text: string;
  readonly source: string;
}

const url: Flag<Sourced> = {
  group: "connection",
  short: "u",
  value: "URL[,URL]",
  help:
    "broker to use, or several to try in turn: amqp://user:password@host:port/vhost, amqps:// " +
    "for TLS",
  env: "AMQP_URL",
  shown: DEFAULT_URL,
  fallback: () => ({ text: DEFAULT_URL, source: "the default URL" }),
  parse: (texts, source) => ({ text: texts.at(-1)!, source }),
};

export const CONNECTION_FLAGS = {
  url,
  "password-file": text({
    group: "connection",
    value: "PATH",
    help: "file with the password, instead of the one in the URL; read again for every connection",
  }),
  cacert: text({
    group: "connection",
    value: "PATH",
    help: "PEM file of the certificate authorities to trust",
  }),
  cert: text({ group: "connection", value: "PATH", help: "PEM file of the client certificate" }),
  key: text({
    group: "connection",
    value: "PATH",
    help: "PEM file of the client certificate's key",
  }),
  "tls-server-name": text({
    group: "connection",
    value: "NAME",
    help: "name to expect in the broker's certificate instead of the host",
  }),
  "tls-insecure": toggle({ group: "connection", help: "do not check the broker's certificate" }),
};

const TLS_FLAGS = ["cacert", "cert", "key", "tls-server-name", "tls-insecure"] as const;

export const QUEUE_FLAGS = {
  queue,
  "queue-type": choice({
    group: "queue",
    choices: ["quorum", "classic"],
    shown: "quorum",
    help: "type for a queue that does not exist yet; when given, an existing one must be of it",
  }),
  "queue-arg": queueArguments,
  "no-declare": toggle({ group: "queue", help: "do not create the queue; it must be there" }),
};

/** For the help pages of tools with CONNECTION_FLAGS. */
export const URL_HELP: readonly [string, string] = [
  "URLs",
  `  A trailing slash alone is the vhost "/"; a "/" inside a vhost is written %2F. User names and
  passwords are percent-encoded. Parameters, as RabbitMQ has them: heartbeat (seconds),
  connection_timeout (ms), channel_max, cacertfile, certfile, keyfile, verify=verify_none,
  server_name_indication, auth_mechanism=external, name. Those of TLS, and the options for it, need
  amqps://.`,
];

const FAILURES =
  `64 usage; 65 bad input data; 66 input file missing; 69 unroutable or no such queue;
  70 internal; 73 queue arguments conflict; 75 temporary, try again; 76 protocol error;
  77 login or permission; 126, 127 command not executable, not found; 128 plus the number of a
  signal that ended it at once`;

/** For the help pages of tools. */
export const EXIT_HELP: readonly [string, string] = ["Exit status", `  0 done; ${FAILURES}`];

/** The same of one that can wait for its tasks. */
export const WAITING_EXIT_HELP: readonly [string, string] = [
  "Exit status",
  `  0 done; 1, or the status of its command: a task that --wait waited for is dead;
  ${FAILURES}`,
];

/**
 * The addresses that the command line or the environment gives.
 *
 * @param names how the option of the URL is called, and its variable, and how those of login and TLS
 *   begin
 * @throws {UsageError | InputError}
 */
export function readEndpoints(
  values: Values<typeof CONNECTION_FLAGS>,
  host: Host,
  names = { url: "--url", variable: "AMQP_URL", prefix: "--" },
): Endpoint[] {
  const { text, source } = values.url;
  if (source === names.url && hasPassword(text)) {
    host.say(
      "warn",
      "warning: a password on the command line is visible to every user of this machine; use " +
        `${names.variable} or ${names.prefix}password-file`,
    );
  }
  const trust: WritableTlsTrust = {};
  if (values.cacert !== undefined) trust.cacertfile = values.cacert;
  if (values.cert !== undefined) trust.certfile = values.cert;
  if (values.key !== undefined) trust.keyfile = values.key;
  if (values["tls-server-name"] !== undefined) trust.serverName = values["tls-server-name"];
  if (values["tls-insecure"]) trust.verify = false;
  const path = values["password-file"];
  const passwordFile = path === undefined ? undefined : new PasswordFile(path);
  passwordFile?.read(); // a mistake is told before anything is tried
  const endpoints = parseUrls(text, source, {
    trust,
    ...(names.prefix === "--" ? {} : { optionPrefix: names.prefix }),
    ...(passwordFile === undefined ? {} : { passwordFile }),
  });
  const forTls = TLS_FLAGS.filter((name) => values[name] !== undefined && values[name] !== false);
  if (forTls.length > 0 && !endpoints.some(({ tls }) => tls)) {
    const given = forTls.map((name) => names.prefix + name).join(" and ");
    throw new UsageError(`${source} must have an amqps:// URL for ${given}, and has amqp:// only`);
  }
  return endpoints;
}

/** AMQP_URL for the commands of this worker, whatever directory they run in. */
export function urlForCommands(endpoints: readonly Endpoint[]): string {
  return endpoints.map((endpoint) => {
    const trust: WritableTlsTrust = { ...endpoint.trust };
    for (const file of ["cacertfile", "certfile", "keyfile"] as const) {
      const path = trust[file];
      if (path !== undefined && !/^(?:\/|[a-z]:)/i.test(path)) {
        trust[file] = `${Deno.cwd()}/${path}`;
      }
    }
    return formatUrl({ ...endpoint, trust });
  }).join(",");
}

/** How the work queue is treated. @throws {UsageError} */
export function readQueuePolicy(values: Values<typeof QUEUE_FLAGS>): QueuePolicy {
  const type = values["queue-type"] ?? "quorum";
  const args = argumentTable(values["queue-arg"], type);
  return {
    name: values.queue,
    type,
    ...(Object.keys(args).length === 0 ? {} : { arguments: args }),
    strict: values["queue-type"] !== undefined,
    create: !values["no-declare"],
  };
}
