/**
 * How often queues take a task back. A quorum queue with x-delivery-limit drops one, or gives it to its
 * dead-letter exchange, when it comes back more often, whoever gave it back. A limit that a policy sets
 * is not seen: no broker tells it over AMQP.
 */
import type { Connector } from "../amqp/connection.ts";
import { queueArgument } from "../amqp/declare.ts";
import { ChannelError, ToolError } from "../errors.ts";
import { readHistory } from "../task/headers.ts";
import type { Task } from "../task/task.ts";
import { workQueue } from "../task/topology.ts";

/** Left for those that nobody chooses: a connection that is lost, a worker that is killed. */
const SPARE = 1;

export class ReturnLimits {
  readonly #connector: Pick<Connector, "connect">;
  /** What is known, by queue. */
  readonly #limits = new Map<string, number>();

  constructor(connector: Pick<Connector, "connect">) {
    this.#connector = connector;
  }

  /** How often one may give a task back, by what is known; Infinity: as often as one likes. */
  of(queue: string): number {
    return Math.max(0, (this.#limits.get(queue) ?? Infinity) - SPARE);
  }

  /** Whether its queue may drop the task when it is given back, by what is known. */
  isReached(task: Task): boolean {
    const most = this.of(task.queue);
    return most < Infinity && readHistory(task).losses >= most;
  }

  /** Asks the broker what is not known; what it does not tell stays so. Never rejects. */
  async learn(queue: string): Promise<void> {
    if (this.#limits.has(queue)) return;
    try {
      this.#limits.set(queue, await this.#ask(queue));
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      // It is asked again when it can be reached, but not for what it does not allow.
      if (error instanceof ChannelError) this.#limits.set(queue, Infinity);
    }
  }

  async #ask(queue: string): Promise<number> {
    const transport = await this.#connector.connect();
    try {
      const limit = await queueArgument(transport, workQueue(queue), "x-delivery-limit");
      // RabbitMQ 4 takes a negative one as none.
      return typeof limit === "number" && limit >= 0 ? limit : Infinity;
    } finally {
      await transport.shutdown();
    }
  }
}
