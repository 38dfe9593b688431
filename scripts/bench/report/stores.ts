/** The brokers and queues that are measured against each other, with one face. */
import { installed, spawn } from "../../../tests/support/process.ts";
import { freePorts, waitForPort } from "../../../tests/support/ports.ts";
import { startOwnBroker } from "../../brokers.ts";
import { residentMemory } from "../measure.ts";
import { freshQueue } from "../queues.ts";
import { output } from "./lab.ts";

const root = new URL("../../../", import.meta.url).pathname;
const DENO = [Deno.execPath(), "run", "--quiet", "--allow-all"];
/** A body of 10 MB, and more. */
const BEANSTALKD_JOB = "20000000";

export type Mode = "publish" | "consume" | "queues";

export interface Load {
  readonly queue: string;
  readonly count: number;
  readonly window: number;
  readonly size: number;
  /** Connections, or queues in the mode `queues`. */
  readonly spread?: number;
}

/** A running broker. */
export interface Store extends AsyncDisposable {
  readonly name: string;
  readonly version: string;
  /** Empties or makes a queue. */
  fresh(queue: string): Promise<void>;
  /** Tasks a second. */
  rate(mode: Mode, load: Load, signal: AbortSignal): Promise<number>;
  /** Median and p99 from confirm to start, then from send to start, in milliseconds. */
  latency(queue: string, count: number, signal: AbortSignal): Promise<readonly number[]>;
  /** Resident memory, in MB. */
  memory(): Promise<number>;
}

export interface Kind {
  readonly name: string;
  /** Why it cannot run here. */
  readonly missing: string | undefined;
  /** Syncs each task by itself, or is slow for another reason: gets the smaller loads. */
  readonly isSlow?: boolean;
  start(folder: string): Promise<Store>;
}

/**
 * @param goPeer the program of ../go/peer.go, which speaks AMQP for all brokers that do
 * @param ours the command line of our broker
 */
export function storeKinds(goPeer: string | undefined, ours: readonly string[]): readonly Kind[] {
  return [
    {
      name: "our broker",
      missing: undefined,
      start: async (folder) => {
        const data = await Deno.makeTempDir({ dir: folder, prefix: "broker-" });
        const broker = await startOwnBroker(["--data", data], ours);
        return amqpStore("our broker", "", broker.url, broker.pid!, goPeer, broker);
      },
    },
    rabbitmqKind("RabbitMQ 3.10", "", goPeer),
    rabbitmqKind("RabbitMQ 4.0", debian13(), goPeer),
    beanstalkdKind,
    redisKind,
  ];
}

/** Where `deno task test:rabbitmq4` keeps its RabbitMQ. */
function debian13(): string {
  const cache = Deno.env.get("XDG_CACHE_HOME") || `${Deno.env.get("HOME") ?? "/root"}/.cache`;
  return `${cache}/workqueue-debian13`;
}

function rabbitmqKind(name: string, chroot: string, goPeer: string | undefined): Kind {
  const isHere = installed(`${chroot}/usr/lib/rabbitmq/bin/rabbitmq-server`);
  return {
    name,
    missing: isHere ? undefined : "not installed",
    start: async () => {
      const line = 'mount -t proc proc "$RABBITMQ_CHROOT/proc" && exec "$@"';
      const node = [...DENO, new URL("rabbitmq_node.ts", import.meta.url).pathname];
      const command = chroot === ""
        ? node
        : ["unshare", "--mount", "sh", "-c", line, "sh", ...node];
      const child = spawn(command[0]!, {
        args: command.slice(1),
        env: chroot === "" ? {} : { RABBITMQ_CHROOT: chroot },
        stdin: "open",
      });
      const [json] = await child.waitForLine(/^\{.*\}$/, 120_000);
      const { url, pid, version } = JSON.parse(json!);
      return amqpStore(name, version, url, pid, goPeer, {
        [Symbol.asyncDispose]: async () => {
          await child.endInput();
          await child.ended(60_000);
        },
      });
    },
  };
}

function amqpStore(
  name: string,
  version: string,
  url: string,
  pid: number,
  goPeer: string | undefined,
  owner: AsyncDisposable,
): Store {
  const oursPeer = [...DENO, `${root}scripts/bench/peer.ts`];
  // Without Go our own client speaks for all, as far as it can.
  const peer = goPeer === undefined ? oursPeer : [goPeer];
  return {
    name,
    version,
    fresh: (queue) => freshQueue(url, queue, "quorum"),
    rate: async (mode, load, signal) => {
      if (goPeer === undefined && (load.spread ?? 1) > 1) throw new Error("needs amqp091-go");
      return await peerRate(peer, mode, url, load, signal);
    },
    latency: (queue, count, signal) => peerLatency(oursPeer, url, queue, count, signal),
    memory: () => residentMemory(pid),
    [Symbol.asyncDispose]: async () => await owner[Symbol.asyncDispose](),
  };
}

const beanstalkdKind: Kind = {
  name: "beanstalkd -b -f0",
  missing: installed("beanstalkd") ? undefined : "not installed",
  isSlow: true,
  start: async (folder) => {
    const port = freePorts(1)[0]!;
    const data = await Deno.makeTempDir({ dir: folder, prefix: "beanstalkd-" });
    const server = spawn("beanstalkd", {
      args: ["-l", "127.0.0.1", "-p", `${port}`, "-b", data, "-f0", "-z", BEANSTALKD_JOB],
      killOnDispose: true,
    });
    return await foreignStore("beanstalkd -b -f0", "beanstalkd_peer.ts", port, server);
  },
};

const redisKind: Kind = {
  name: "Redis, fsync always",
  missing: installed("redis-server") ? undefined : "not installed",
  start: async (folder) => {
    const port = freePorts(1)[0]!;
    const data = await Deno.makeTempDir({ dir: folder, prefix: "redis-" });
    const server = spawn("redis-server", {
      args: ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", data, "--save", ""]
        .concat(["--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"]),
      killOnDispose: true,
    });
    return await foreignStore("Redis, fsync always", "redis_peer.ts", port, server);
  },
};

/** One that starts in no time, with its own peer; each queue gets a name that was never used. */
async function foreignStore(
  name: string,
  program: string,
  port: number,
  server: AsyncDisposable & { readonly pid: number },
): Promise<Store> {
  const peer = [...DENO, `${root}scripts/bench/peers/${program}`];
  let generation = 0;
  try {
    await waitForPort(name, port);
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
  const named = (queue: string) => `${queue}-${generation}`;
  return {
    name,
    version: "",
    fresh: () => Promise.resolve(void generation++),
    rate: (mode, load, signal) =>
      peerRate(peer, mode, `${port}`, { ...load, queue: named(load.queue) }, signal),
    latency: (queue, count, signal) => peerLatency(peer, `${port}`, named(queue), count, signal),
    memory: () => residentMemory(server.pid),
    [Symbol.asyncDispose]: () => Promise.resolve(server[Symbol.asyncDispose]()),
  };
}

/** Runs a peer. @returns tasks a second */
export async function peerRate(
  peer: readonly string[],
  mode: string,
  address: string,
  { queue, count, window, size, spread = 1 }: Load,
  signal: AbortSignal,
): Promise<number> {
  const args = [mode, address, queue, count, window, size, spread].map(String);
  const [seconds] = (await output([...peer, ...args], signal)).trim().split(" ").map(Number);
  return count / seconds!;
}

async function peerLatency(
  peer: readonly string[],
  address: string,
  queue: string,
  count: number,
  signal: AbortSignal,
): Promise<readonly number[]> {
  const args = ["latency", address, queue, count, 1, 100].map(String);
  return (await output([...peer, ...args], signal)).trim().split(" ").map(Number);
}
