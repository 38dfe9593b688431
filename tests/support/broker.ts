/**
 * The broker under the tests of the tools, which state what both kinds do: TEST_BROKER=rabbitmq or
 * =embedded, this project's own; by default RabbitMQ where it is installed, or else our own.
 *
 * Tests on the shared node use `uniqueName()`; `startNode()` gives one that may be killed.
 */
import { type EmbeddedBroker, startBroker } from "./embedded.ts";
import { rabbitmqMissing, sharedRabbitmq, startRabbitmq } from "./rabbitmq.ts";
import { uniqueName } from "./temp.ts";
import { unless } from "./unless.ts";

export type BrokerKind = "rabbitmq" | "embedded";

/** A running broker that somebody else owns. */
export interface BrokerNode {
  readonly port: number;
  readonly url: string;
}

/** A broker of one test, with its own data. `await using` it. */
export interface OwnNode extends BrokerNode, AsyncDisposable {
  /** SIGKILL. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** What a broker of one test may be told, in both brokers' words. */
export interface NodeOptions {
  /** Bytes of a message. */
  readonly maxMessageSize?: number;
  /** How long a delivery may stay unacknowledged, in seconds. */
  readonly consumerTimeout?: number;
  /** Bytes of free disk below which publishers are blocked. */
  readonly diskFreeLimit?: number;
}

/** How one kind of broker is had. */
interface Provider {
  /** Why there is none here, or undefined. */
  readonly missing: string | undefined;
  shared(): Promise<BrokerNode>;
  /** The URL of a virtual host that only the caller uses. */
  virtualHost(): Promise<string>;
  start(options: NodeOptions): Promise<OwnNode>;
}

const PROVIDERS: Record<BrokerKind, Provider> = {
  rabbitmq: {
    missing: rabbitmqMissing,
    shared: sharedRabbitmq,
    async virtualHost() {
      const node = await sharedRabbitmq();
      if (rabbitmqMissing) return node.url;
      const name = uniqueName("place");
      await node.eval(
        `rabbit_vhost:add(<<"${name}">>, <<"tests">>),
          rabbit_auth_backend_internal:set_permissions(
            <<"guest">>, <<"${name}">>, <<".*">>, <<".*">>, <<".*">>, <<"tests">>).`,
      );
      return node.url + name;
    },
    start: ({ maxMessageSize, consumerTimeout, diskFreeLimit }) =>
      startRabbitmq({
        config: {
          ...(maxMessageSize === undefined ? {} : { max_message_size: maxMessageSize }),
          ...(consumerTimeout === undefined ? {} : { consumer_timeout: consumerTimeout * 1_000 }),
          ...(diskFreeLimit === undefined ? {} : { "disk_free_limit.absolute": diskFreeLimit }),
        },
        // RabbitMQ looks for overdue acknowledgements once in this many milliseconds.
        ...(consumerTimeout === undefined
          ? {}
          : { advanced: `[{rabbit, [{channel_tick_interval, 1000}]}].` }),
      }),
  },
  embedded: {
    missing: undefined,
    shared: sharedEmbedded,
    virtualHost: async () => (await sharedEmbedded()).url + VHOST,
    start: ({ maxMessageSize, consumerTimeout, diskFreeLimit }) =>
      startBroker({
        args: Object.entries({
          "max-message-size": maxMessageSize,
          "consumer-timeout": consumerTimeout,
          "disk-free-limit": diskFreeLimit,
        }).flatMap(([name, value]) => value === undefined ? [] : [`--${name}`, String(value)]),
      }),
  },
};

/** The virtual host beside "/" of our shared broker; each test file has a broker of its own. */
const VHOST = "place";

let embedded: EmbeddedBroker | undefined;

async function sharedEmbedded(): Promise<BrokerNode> {
  if (!embedded) {
    embedded = await startBroker({ args: ["--vhost", VHOST] });
    globalThis.addEventListener("unload", () => embedded!.abandon());
  }
  return embedded;
}

/** The kind that this run is about. */
export const brokerKind: BrokerKind = chooseKind();

const provider = PROVIDERS[brokerKind];

/** Why there is no such broker, or undefined. For `ignore` and the test's name. */
export const brokerMissing: string | undefined = provider.missing;

/** The broker that test files share. Await it at the top level of a test file. */
export function sharedNode(): Promise<BrokerNode> {
  return provider.shared();
}

/** The URL of a virtual host for one test file. Await it at the top level. */
export function virtualHost(): Promise<string> {
  return provider.virtualHost();
}

/** Starts a broker that may be limited, killed and started again. */
export function startNode(options: NodeOptions = {}): Promise<OwnNode> {
  return provider.start(options);
}

/** The one kind that a test is about, and why the other one cannot show it. */
export interface Only {
  readonly only: BrokerKind;
  readonly because: string;
}

/** A test that needs a broker; ignored, with the reason in its name, where it cannot run. */
export function brokerTest(
  name: string,
  fn: (t: Deno.TestContext) => Promise<void>,
  limit?: Only,
): void {
  const missing = provider.missing ??
    (limit === undefined || limit.only === brokerKind ? undefined : limit.because);
  Deno.test({ ...unless(missing, onThisBroker(name)), fn });
}

/** The name of a test whose result depends on the broker: by it a run for one kind finds them. */
export function onThisBroker(name: string): string {
  return `${name} (${brokerKind})`;
}

function chooseKind(): BrokerKind {
  const wanted = Deno.env.get("TEST_BROKER") || (rabbitmqMissing ? "embedded" : "rabbitmq");
  if (wanted === "rabbitmq" || wanted === "embedded") return wanted;
  throw new Error(`TEST_BROKER must be rabbitmq or embedded, and is ${JSON.stringify(wanted)}`);
}
