/** `broker`: a durable AMQP 0-9-1 broker for one machine, in one process and one folder. */
import { Broker, type BrokerOptions } from "./broker/server.ts";
import { DEFAULT_LIMITS, type Limits, limitsWithin } from "./broker/net/limits.ts";
import { parseCommandLine } from "./cli/command_line.ts";
import { choice, integer, list, size, text, toggle, type Values } from "./cli/flags.ts";
import type { HelpPage } from "./cli/help/page.ts";
import { listenAddress } from "./cli/listen_address.ts";
import { BROKER_COMMANDS } from "./cli/broker_commands.ts";
import { runCommand } from "./cli/commands.ts";
import { HOST_MEMORY, hostMemory } from "./cli/host_memory.ts";
import { readLogStyle } from "./cli/log_flags.ts";
import { type Host, runMain, VERSION } from "./cli/main.ts";
import { TOOL_FLAGS } from "./cli/general_flags.ts";
import { tell } from "./cli/tell.ts";
import { keepHeapSmall } from "./cli/small_heap.ts";
import { inWords, openServiceManager } from "./cli/service.ts";
import { onSignals } from "./cli/signals.ts";
import { EXIT, ToolError, UsageError } from "./errors.ts";
import { SHORT_STRING_BYTES, utf8Length } from "./task/short_string.ts";

const FLAGS = {
  data: text({
    group: "data",
    short: "d",
    value: "DIR",
    help: "folder of the data; created if need be",
    env: "BROKER_DATA",
    default: "broker-data",
    minBytes: 1,
  }),
  transient: toggle({
    group: "data",
    help: "keep everything in memory: nothing survives the end",
    excludes: ["data", "disk-free-limit"],
  }),
  port: integer({
    group: "connection",
    short: "p",
    min: 0,
    max: 65_535,
    default: 5672,
    help: "port to listen on; 0 for a free one",
  }),
  listen: list<string>({
    group: "connection",
    value: "ADDRESS",
    help: "address to listen on, instead of 127.0.0.1 and ::1; 0.0.0.0 and :: for all",
    parseOne: (address, source) => {
      if (/^(?:\[.*\]|[^:]*):\d+$/.test(address)) {
        throw new UsageError(
          `${source} must be an address alone, beside --port, and is ${JSON.stringify(address)}`,
        );
      }
      return filled(address, source).replace(/^\[(.*)\]$/, "$1");
    },
  }),
  vhost: list<string>({
    group: "connection",
    value: "NAME",
    help: 'virtual host besides "/"',
    parseOne: filled,
  }),
  user: text({
    group: "connection",
    value: "NAME",
    help: "user to add, or whose password to change, with --password-file; then there is no guest",
    minBytes: 1,
    maxBytes: SHORT_STRING_BYTES,
  }),
  "password-file": text({
    group: "connection",
    value: "PATH",
    help: "file with the password of --user",
  }),
  "tls-cert": text({
    group: "connection",
    value: "PATH",
    help: "PEM file of the certificate chain: speak TLS",
  }),
  "tls-key": text({
    group: "connection",
    value: "PATH",
    help: "PEM file of the certificate's key",
  }),
  "max-connections": integer({
    group: "limits",
    min: 1,
    max: 1_000_000,
    default: DEFAULT_LIMITS.connections,
    help: "connections at a time",
  }),
  "max-message-size": size({
    group: "limits",
    min: 1,
    max: 512 * 1024 * 1024,
    default: DEFAULT_LIMITS.messageBytes,
    help: "of a message; less where there is little memory",
  }),
  heartbeat: integer({
    group: "limits",
    min: 0,
    max: 65_535,
    default: DEFAULT_LIMITS.heartbeat,
    help: "seconds between heartbeats that clients are offered; 0 for none",
  }),
  "consumer-timeout": integer({
    group: "limits",
    min: 1,
    max: 2_592_000,
    default: DEFAULT_LIMITS.consumerTimeoutMs / 1_000,
    help: "seconds that a delivery may stay unacknowledged",
  }),
  "host-memory": HOST_MEMORY,
  "disk-free-limit": size({
    group: "limits",
    min: 0,
    default: DEFAULT_LIMITS.diskFreeBytes,
    help: "free disk below which publishers are blocked; 0 for no limit",
  }),
  "max-disk": size({
    group: "limits",
    min: 16 * 1024 * 1024,
    help:
      "the disk that the data may take, such as 300M or 2G; with less than a tenth of it left " +
      "publishers are blocked",
  }),
  "when-full": choice({
    group: "limits",
    choices: ["block", "reject"],
    default: "block",
    help: "what becomes of publishers while the disk or --max-disk is almost full; reject is a " +
      "nack for those with confirms, and block for others",
  }),
  http: listenAddress({
    group: "watching",
    help: "serve a page for the browser, its API and /metrics; from this machine only without a " +
      "HOST",
  }),
  "token-file": text({
    group: "watching",
    value: "FILE",
    minBytes: 1,
    help: "bearer token that --http requires, or several, a line each; needed with a HOST",
    needs: ["http"],
  }),
  ...TOOL_FLAGS,
};

/** Bytes of other contents that a connection may have under way besides the largest message. */
const ROOM_BYTES = 16 * 1024 * 1024;

/** What is told about this tool. */
export async function help(): Promise<HelpPage> {
  return (await import("./cli/broker_help.ts")).helpOf(FLAGS);
}

/** @returns the exit status */
export async function run(host: Host): Promise<number> {
  const ended = await runCommand(BROKER_COMMANDS, host);
  if (ended !== undefined) return ended;
  const { values, words } = await parseCommandLine(FLAGS, host.args, host.env);
  if (await tell(host, values, help)) return EXIT.ok;
  host.logAs(readLogStyle(values));
  if (words.length > 0) {
    const { didYouMean } = await import("./cli/suggest.ts");
    throw new UsageError(
      `the broker takes only options, and got ${JSON.stringify(words[0])}` +
        didYouMean(words[0]!, Object.keys(BROKER_COMMANDS), "broker "),
    );
  }
  const broker = await Broker.start(await readOptions(values, host));
  const page = await openPage(broker, values, host);
  const manager = await openServiceManager(host, () => inShort(broker));
  const asked = Promise.withResolvers<void>();
  const signals = onSignals({
    end: () => asked.resolve(),
    ...(values["tls-cert"] === undefined
      ? {}
      : { reload: () => renewCertificate(broker, values, host) }),
    status: () => host.log.info("status", broker.describe()),
  });
  const [url, ...others] = broker.urls;
  const also = others.length > 0 ? ` and ${others.join(" ")}` : "";
  const on = page === undefined ? "" : `, page at ${page.url}`;
  host.log.info(`ready: ${url}${also}, ${describeData(values)}${on}`);
  manager?.ready();
  await asked.promise;
  host.log.info("ending");
  manager?.ending();
  await page?.[Symbol.asyncDispose]();
  await broker.stop();
  await manager?.close();
  signals.dispose();
  const { failure } = broker.store;
  if (failure === undefined) return EXIT.ok;
  throw new ToolError(
    `cannot store the last changes: ${failure}; what was acknowledged may come again, and what was ` +
      "not confirmed may be missing",
    EXIT.temporary,
  );
}

/** For a service manager. */
function inShort(broker: Broker): string {
  const { connections, queues, ready, blocked } = broker.describe();
  const counts = inWords([
    [Number(connections), "connection", "connections"],
    [Number(queues), "queue", "queues"],
    [Number(ready), "message waits", "messages wait"],
  ]);
  return blocked === undefined ? counts || "no connections" : `publishers are blocked: ${blocked}`;
}

/** What it needs is only loaded where it is asked for. */
async function openPage(
  broker: Broker,
  { http, "token-file": tokenFile }: Values<typeof FLAGS>,
  host: Host,
): Promise<AsyncDisposable & { url: string } | undefined> {
  if (http === undefined) return undefined;
  try {
    const { servePage } = await import("./cli/page.ts");
    const page = await servePage(host, broker.inside, http, tokenFile);
    // Where a token is needed, nobody finds his way by himself.
    if (tokenFile === undefined) broker.page = page;
    return page;
  } catch (error) {
    await broker.stop();
    throw error;
  }
}

function describeData({ transient, data }: Values<typeof FLAGS>): string {
  return transient ? "everything in memory" : `data in ${data}`;
}

async function readOptions(values: Values<typeof FLAGS>, host: Host): Promise<BrokerOptions> {
  const options: BrokerOptions = {
    port: values.port,
    vhosts: values.vhost,
    limits: readLimits(values),
    fit: (limits) => fitToMemory(limits, values["host-memory"], host),
    whenFull: values["when-full"],
    version: VERSION,
    log: host.log,
  };
  if (!values.transient) options.folder = values.data;
  if (values.listen.length > 0) options.hosts = values.listen;
  const [user, passwordFile] = [values.user, values["password-file"]];
  if ((user === undefined) !== (passwordFile === undefined)) {
    throw new UsageError("--user and --password-file need each other, and only one is given");
  }
  if (user !== undefined) {
    const { PasswordFile } = await import("./amqp/password_file.ts");
    options.user = { name: user, password: new PasswordFile(passwordFile!).read() };
  }
  const tls = await readCertificate(values);
  if (tls !== undefined) options.tls = tls;
  return options;
}

function readLimits(values: Values<typeof FLAGS>): Partial<Limits> {
  return {
    connections: values["max-connections"],
    messageBytes: values["max-message-size"],
    pendingBytes: Math.max(
      DEFAULT_LIMITS.pendingBytes,
      values["max-message-size"] + ROOM_BYTES,
    ),
    heartbeat: values.heartbeat,
    consumerTimeoutMs: values["consumer-timeout"] * 1_000,
    diskFreeBytes: values["disk-free-limit"],
    diskShareBytes: values["max-disk"] ?? Infinity,
  };
}

/** No more than the memory of this host allows. */
function fitToMemory(limits: Limits, told: number | undefined, host: Host): Limits {
  const bytes = hostMemory(told);
  keepHeapSmall(bytes);
  if (bytes === undefined) return limits;
  const within = limitsWithin(limits, bytes);
  if (within.messageBytes < limits.messageBytes) {
    host.log.info(
      `there are ${inMegabytes(bytes)} MB of memory: a message may have ` +
        `${inMegabytes(within.messageBytes)} MB`,
    );
  }
  return within;
}

function inMegabytes(bytes: number): string {
  return String(Math.floor(bytes / 1024 / 1024));
}

async function readCertificate(
  values: Values<typeof FLAGS>,
): Promise<{ cert: string; key: string } | undefined> {
  const [cert, key] = [values["tls-cert"], values["tls-key"]];
  if ((cert === undefined) !== (key === undefined)) {
    throw new UsageError("--tls-cert and --tls-key need each other, and only one is given");
  }
  return cert === undefined ? undefined : { cert: await readPem(cert), key: await readPem(key!) };
}

async function renewCertificate(
  broker: Broker,
  values: Values<typeof FLAGS>,
  host: Host,
): Promise<void> {
  try {
    broker.renewCertificate((await readCertificate(values))!);
    host.log.info("new connections get the certificate as it is now");
  } catch (error) {
    host.log.error("the former certificate stays", { error: (error as Error).message });
  }
}

/** @throws {UsageError} when it is empty, or longer than a name of AMQP */
function filled(text: string, source: string): string {
  const length = utf8Length(text);
  if (length >= 1 && length <= SHORT_STRING_BYTES) return text;
  throw new UsageError(`${source} must have 1 to 255 bytes, and has ${length}`);
}

async function readPem(path: string): Promise<string> {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    const { unreadable } = await import("./cli/input.ts");
    throw unreadable(`the PEM file ${JSON.stringify(path)}`, error);
  }
}

if (import.meta.main) await main();

/** Runs this program, and ends the process. */
export async function main(): Promise<never> {
  return await runMain("broker", run);
}
