/**
 * The bench's peer on src/amqp: the same work as go/peer.go, with the same output.
 *
 *   peer.ts publish|consume URL QUEUE COUNT WINDOW SIZE
 */
// deno-lint-ignore-file no-console
import { Connector } from "../../src/amqp/connection.ts";
import { Consumer } from "../../src/amqp/consumer.ts";
import { Publisher } from "../../src/amqp/publisher.ts";
import { parseUrls } from "../../src/amqp/url.ts";
import { createLogger } from "../../src/observe/log.ts";

interface Work {
  readonly connector: Connector;
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
    body: new Uint8Array(size),
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

/** VmHWM of /proc/self/status in kB, or 0 where there is none. */
async function peakMemory(): Promise<string> {
  const status = await Deno.readTextFile("/proc/self/status").catch(() => "");
  return status.match(/^VmHWM:\s+(\d+)/m)?.[1] ?? "0";
}

const [mode, url, queue, count, window, size] = Deno.args;
const work: Work = {
  connector: new Connector({
    endpoints: parseUrls(url!, "URL"),
    identity: { name: "bench", version: "" },
    log,
  }),
  queue: queue!,
  count: Number(count),
  window: Number(window),
  size: Number(size),
};
const seconds = mode === "publish" ? await publish(work) : await consume(work);
console.log(`${seconds.toFixed(6)} ${await peakMemory()}`);
