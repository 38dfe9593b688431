/**
 * The bench's peer on src/amqp: the same work as go/peer.go, with the same output; and a worker
 * with the handlers that need no process, which only these modes load.
 *
 *   peer.ts publish|consume|dots|module|latency URL QUEUE COUNT WINDOW SIZE
 */
// deno-lint-ignore-file no-console
import { Connector } from "../../src/amqp/connection.ts";
import { Consumer } from "../../src/amqp/consumer.ts";
import { Publisher } from "../../src/amqp/publisher.ts";
import { type Endpoint, parseUrls } from "../../src/amqp/url.ts";
import { createLogger } from "../../src/observe/log.ts";
import type { Handler } from "../../src/task/handler.ts";
import { measureLatency, peakMemory } from "./peers/session.ts";

interface Work {
  readonly connector: Connector;
  readonly endpoints: readonly Endpoint[];
  readonly queue: string;
  /** Messages to publish or to consume. */
  readonly count: number;
  /** Messages that may be unconfirmed or unacknowledged at the same time. */
  readonly window: number;
  /** Bytes of a body. */
  readonly size: number;
}

const log = createLogger({ name: "peer", write: (text) => console.error(text.trimEnd()) });

/** Seconds from the first publish to the last confirm. */
async function publish({ connector, queue, count, window, size }: Work): Promise<number> {
  const transport = await connector.connect();
  const publisher = await Publisher.open(transport);
  const task = {
    exchange: "",
    routingKey: queue,
    body: new Uint8Array(size).fill(0x78),
    properties: { deliveryMode: 2, contentType: "text/plain" },
  };
  const started = performance.now();
  let next = 0;
  await Promise.all(Array.from({ length: Math.min(window, count) }, async () => {
    while (next++ < count) await publisher.publish(task);
  }));
  const seconds = (performance.now() - started) / 1000;
  await transport.shutdown();
  return seconds;
}

/** Seconds from the first delivery to the last acknowledgement. */
async function consume({ connector, queue, count, window }: Work): Promise<number> {
  let started = 0;
  let done = 0;
  const last = Promise.withResolvers<void>();
  const consumer = new Consumer({
    connector,
    queue: { name: queue, type: "quorum", strict: false, create: false },
    prefetch: window,
    log,
    onDelivery: (delivery) => {
      started ||= performance.now();
      delivery.ack();
      if (++done === count) last.resolve();
    },
  });
  const running = consumer.run();
  await Promise.race([last.promise, running]);
  const seconds = (performance.now() - started) / 1000;
  await consumer.close();
  await running;
  return seconds;
}

/** Seconds from the first start of the handler to the last acknowledgement, as in src/worker.ts. */
async function work(
  handler: Handler,
  { endpoints, queue, count, window }: Work,
  timeoutMs?: number,
): Promise<number> {
  let starts = 0;
  let started = 0;
  let ended = 0;
  const { Worker } = await import("../../src/worker/worker.ts");
  const worker = new Worker({
    endpoints,
    identity: { name: "bench", version: "" },
    queues: [{
      policy: { name: queue, type: "quorum", strict: false, create: false },
      prefetch: window,
    }],
    handler: (task, context) => {
      started ||= performance.now();
      const outcome = handler(task, context);
      if (++starts === count) lastAcknowledged().then(() => ended = performance.now());
      return outcome;
    },
    log,
    hostname: "bench",
    // What worker --handler has; worker alone has none.
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    maxTasks: count,
  });
  // Earlier than the end of the worker, which waits until RabbitMQ has worked off what it was told.
  async function lastAcknowledged(): Promise<void> {
    while (worker.describe().done! < count) await undefined;
  }
  await worker.run();
  return (ended - started) / 1000;
}

/** Throws the tutorial's lines away, where src/worker.ts writes them to stdout. */
async function dots(): Promise<Handler> {
  const { dotsHandler } = await import("../../src/handlers/dots.ts");
  return dotsHandler({ print: () => undefined });
}

/** A module that does nothing, called as `--handler FILE` calls it. */
async function moduleHandler(): Promise<Handler> {
  const { functionHandler, loadHandler } = await import("../../src/handlers/module.ts");
  const file = await Deno.makeTempFile({ suffix: ".js" });
  await Deno.writeTextFile(file, "export default () => {};");
  try {
    return functionHandler(await loadHandler(file), { log: () => {} });
  } finally {
    await Deno.remove(file);
  }
}

/** Sends tasks one by one to a consumer with prefetch 1. @returns what `measureLatency` does */
async function latency({ connector, queue, count, size }: Work): Promise<string> {
  let started = Promise.withResolvers<number>();
  const consumer = new Consumer({
    connector,
    queue: { name: queue, type: "quorum", strict: false, create: false },
    prefetch: 1,
    log,
    onDelivery: (delivery) => {
      started.resolve(performance.now());
      delivery.ack();
    },
  });
  consumer.run();
  const publisher = await Publisher.open(await connector.connect());
  const task = {
    exchange: "",
    routingKey: queue,
    body: new Uint8Array(size).fill(0x78),
    properties: { deliveryMode: 2, contentType: "text/plain" },
  };
  return await measureLatency(count, async () => {
    await publisher.publish(task);
  }, async () => {
    const at = await started.promise;
    started = Promise.withResolvers();
    return at;
  });
}

const [mode, url, queue, count, window, size] = Deno.args;
const endpoints = parseUrls(url!, "URL");
const load: Work = {
  connector: new Connector({ endpoints, identity: { name: "bench", version: "" }, log }),
  endpoints,
  queue: queue!,
  count: Number(count),
  window: Number(window),
  size: Number(size),
};
const modes: Record<string, () => Promise<number>> = {
  publish: () => publish(load),
  consume: () => consume(load),
  dots: async () => work(await dots(), load),
  module: async () => work(await moduleHandler(), load, 1_500_000),
};
if (mode === "latency") {
  console.log(await latency(load));
} else {
  const seconds = await modes[mode!]!();
  console.log(`${seconds.toFixed(6)} ${await peakMemory()} 0`);
}
Deno.exit();
