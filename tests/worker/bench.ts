/** What tests of a whole worker need: the program as a process, and a look at its queues. */
import { Connector } from "../../src/amqp/connection.ts";
import { declareQueue, inspectQueue, type QueueState } from "../../src/amqp/declare.ts";
import { Publisher } from "../../src/amqp/publisher.ts";
import type { Transport } from "../../src/amqp/transport.ts";
import { parseUrls } from "../../src/amqp/url.ts";
import { createLogger } from "../../src/observe/log.ts";
import type { TaskProperties } from "../../src/task/task.ts";
import { type QueueSpec, workQueue } from "../../src/task/topology.ts";
import { spawn, type TestProcess } from "../support/process.ts";
import { uniqueName } from "../support/temp.ts";
import { toolCommand } from "../support/tools.ts";
import { waitUntil } from "../support/wait.ts";

/** A task as it lies on a queue. */
export interface Found {
  readonly body: string;
  readonly properties: TaskProperties;
}

/** One work queue of a test, with a connection that looks at it. */
export class QueueBench implements AsyncDisposable {
  readonly name = uniqueName("work");
  readonly url: string;
  readonly transport: Transport;
  readonly #publisher: Publisher;

  private constructor(url: string, transport: Transport, publisher: Publisher) {
    this.url = url;
    this.transport = transport;
    this.#publisher = publisher;
  }

  /** @param declaration arguments of the queue; default as the tools declare it */
  static async open(url: string, declaration?: QueueSpec["arguments"]): Promise<QueueBench> {
    const transport = await connectorFor(url).connect();
    const bench = new QueueBench(url, transport, await Publisher.open(transport));
    await declareQueue(transport, {
      name: bench.name,
      arguments: declaration ?? workQueue(bench.name).arguments,
    });
    return bench;
  }

  async send(
    body: string | Uint8Array,
    properties: TaskProperties = {},
    queue = this.name,
  ): Promise<void> {
    await this.#publisher.publish({
      exchange: "",
      routingKey: queue,
      body: typeof body === "string" ? new TextEncoder().encode(body) : body,
      properties: { deliveryMode: 2, ...properties },
    });
  }

  /** Takes a task from a queue, or undefined. */
  async take(queue = this.name): Promise<Found | undefined> {
    const channel = await this.transport.openChannel();
    const message = await channel.basicGet(queue, { noAck: true });
    await channel.close();
    return message === null
      ? undefined
      : { body: message.bodyString() ?? "", properties: message.properties };
  }

  /** Waits for a task on a queue and takes it. */
  async arrival(queue: string): Promise<Found> {
    return await waitUntil(`a task on ${queue}`, async () => {
      return await this.ready(queue) > 0 ? await this.take(queue) : undefined;
    });
  }

  async ready(queue = this.name): Promise<number> {
    return (await this.#look(queue)).messageCount;
  }

  /** Waits until so many tasks are ready: RabbitMQ's quorum queues count with a delay. */
  async holds(count: number, queue = this.name): Promise<void> {
    await waitUntil(`${count} on ${queue}`, async () => await this.ready(queue) === count);
  }

  async consumers(): Promise<number> {
    return (await this.#look(this.name)).consumerCount;
  }

  async #look(queue: string): Promise<QueueState> {
    const state = await inspectQueue(this.transport, queue);
    if (state.messageCount + state.consumerCount > 0) return state;
    // RabbitMQ says so of a quorum queue whose leader does not answer it within 250 ms, too.
    return await inspectQueue(this.transport, queue);
  }

  /** Starts the worker program on this queue, unless the arguments name others. */
  worker(...args: string[]): TestProcess {
    return this.workerIn({}, ...args);
  }

  /** The same with more in its environment. */
  workerIn(env: Record<string, string>, ...args: string[]): TestProcess {
    const [command, ...rest] = toolCommand("worker", args);
    return spawn(command, {
      args: rest,
      env: { AMQP_URL: this.url, WORK_QUEUE: this.name, ...env },
    });
  }

  /** Runs `worker dead ...` for this queue and gives its output. */
  async dead(...args: string[]): Promise<string> {
    const [command, ...rest] = toolCommand("worker", ["dead", ...args, "--queue", this.name]);
    await using process = spawn(command, {
      args: rest,
      env: { AMQP_URL: this.url },
    });
    const { code, stdout, stderr } = await process.ended();
    if (code !== 0) throw new Error(`worker dead ${args[0]} exited with ${code}: ${stderr}`);
    return stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const channel = await this.transport.openChannel();
    const delays = [25, 50, 100, 200, 400, 500, 1000, 5000, 60000].map((ms) =>
      `${this.name}.delay.${ms}`
    );
    for (const queue of [this.name, `${this.name}.dead`, ...delays]) {
      await channel.queueDelete(queue);
    }
    await this.transport.shutdown();
  }
}

export function connectorFor(url: string, name = "test"): Connector {
  return new Connector({
    endpoints: parseUrls(url, "the test's URL", { trust: {} }),
    identity: { name, version: "0" },
    log: createLogger({ name: "test", write: () => {} }),
  });
}
