/** `worker page`: the page of our broker in front of any other one. */
import { EXIT, UsageError } from "../errors.ts";
import { delayTiers } from "../task/topology.ts";
import { AmqpSource } from "../web/amqp_source.ts";
import assets from "../web/assets.json" with { type: "json" };
import { Management } from "../web/management.ts";
import { PageService } from "../web/service.ts";
import {
  CONNECTION_FLAGS,
  EXIT_HELP,
  QUEUE_FLAGS,
  readEndpoints,
  URL_HELP,
} from "./connection_flags.ts";
import { parseCommandLine } from "./command_line.ts";
import { text } from "./flags.ts";
import { GENERAL_FLAGS } from "./general_flags.ts";
import type { HelpPage } from "./help/page.ts";
import { listenAddress } from "./listen_address.ts";
import { type Host, VERSION } from "./main.ts";
import { QUEUE_NAMES_HELP, queueList } from "./queue_names.ts";
import { onSignals } from "./signals.ts";
import { tell } from "./tell.ts";
import { readTokens } from "./tokens.ts";
import { connectorOf } from "./worker_connector.ts";
import { WORKER_FLAGS } from "./worker_flags.ts";

const PAGE_FLAGS = {
  ...CONNECTION_FLAGS,
  queue: queueList,
  "queue-type": QUEUE_FLAGS["queue-type"],
  backoff: WORKER_FLAGS.backoff,
  http: listenAddress({
    group: "watching",
    help: "where the page is served; from this machine only without a HOST",
  }),
  "token-file": text({
    group: "watching",
    value: "FILE",
    minBytes: 1,
    help: "bearer token that the page requires, or several, a line each; needed with a HOST",
  }),
  management: text({
    group: "watching",
    value: "URL",
    minBytes: 1,
    help: "the broker's management API, such as http://localhost:15672: all queues, rates, " +
      "consumers and connections",
  }),
  ...GENERAL_FLAGS,
};

export const help: HelpPage = {
  name: "worker page",
  summary: "serve a page that shows queues and dead tasks",
  usage: ["worker page --http [HOST:]PORT [OPTION]..."],
  about: `Serves the page of our broker in front of RabbitMQ, LavinMQ or any other broker, with what
AMQP tells: how many tasks wait, are delayed or dead, and how many consumers there are. Sends tasks,
replays and drops dead ones. What the broker does not tell is not on the page. The login for the
management API is in its URL, or else that of the broker.`,
  essential: ["http", "queue", "management", "token-file", "url"],
  examples: [
    ["Two queues:", "worker page --http 9180 -q mails,webhooks"],
    ["All that RabbitMQ tells:", "worker page --http 9180 --management http://localhost:15672"],
    ["For other machines:", "worker page --http 0.0.0.0:9180 --token-file token"],
  ],
  flags: PAGE_FLAGS,
  sections: [QUEUE_NAMES_HELP, URL_HELP, EXIT_HELP],
};

/** Runs `worker page`. */
export async function run(host: Host, args: readonly string[]): Promise<number> {
  const { values, words } = await parseCommandLine(PAGE_FLAGS, args, host.env);
  if (await tell(host, values, () => help)) return EXIT.ok;
  if (words.length > 0) {
    throw new UsageError(
      `worker page takes options only, and was given ${JSON.stringify(words[0])}`,
    );
  }
  const { http: address, management: url } = values;
  if (address === undefined) throw new UsageError("worker page needs --http, and has none");
  const [endpoint] = readEndpoints(values, host);
  if (url !== undefined && !/^https?:$/.test(URL.parse(url)?.protocol ?? "")) {
    throw new UsageError("--management must be an http:// or https:// URL, and is another one");
  }
  const { username, password, passwordFile, vhost } = endpoint!;
  const login = { username, password: passwordFile?.read() ?? password };
  await using source = new AmqpSource({
    connector: connectorOf(values, host),
    vhost,
    queues: values.queue.map(({ name }) => name),
    delays: delayTiers(values.backoff),
    queueType: values["queue-type"] ?? "quorum",
    management: url === undefined ? undefined : new Management(url, login),
  });
  const tokens = readTokens(host, address, values["token-file"]);
  const options = { source, address, tokens, version: VERSION, log: host.log };
  await using service = new PageService(options, assets.files);
  const served = await service.start();
  const ended = Promise.withResolvers<void>();
  const signals = onSignals({ end: () => ended.resolve() });
  host.print(` [*] The page is at ${served}. To exit press CTRL+C\n`);
  await ended.promise;
  signals.dispose();
  return EXIT.ok;
}
