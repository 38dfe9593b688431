/** How the tasks of a queue come to the pool: their consumer, and the intake between the two. */
import type { Connector } from "../amqp/connection.ts";
import { Consumer, type ConsumerOptions } from "../amqp/consumer.ts";
import type { Delivery } from "../amqp/consumption.ts";
import { EarlyIntake } from "./early_intake.ts";
import type { WorkerOptions, WorkerQueue } from "./options.ts";
import { gatheredOf, Window, windowSize } from "./window.ts";

/** What a queue's tasks come from and go to. */
interface Way extends Required<Pick<ConsumerOptions, "passOn" | "onReady" | "onLost">> {
  readonly connector: Connector;
  /** Takes a task of a worker that serves its queues in strict order; undefined: it does not. */
  readonly strict: ((delivery: Delivery) => void) | undefined;
  /** Runs a task. @param onOver told when that is over */
  readonly run: (delivery: Delivery, onOver: (delivery: Delivery) => void) => void;
  /** The same; resolves when that is over. Never rejects. */
  readonly runThrough: (delivery: Delivery) => Promise<void>;
}

/** The consumer of a queue; its tasks go the way that the worker's options ask for. */
export function consumerOf(
  { policy, prefetch }: WorkerQueue,
  options: WorkerOptions,
  way: Way,
): Consumer {
  const { ackEarly = false, maxTasks = Infinity, room } = options;
  const size = windowSize(options, prefetch);
  const startsWithOne = size !== undefined && size.isPatient !== true;
  const consumer: Consumer = new Consumer({
    connector: way.connector,
    queue: policy,
    // What is not going to be run is better left on the queue.
    prefetch: ackEarly || startsWithOne ? 1 : Math.min(prefetch, maxTasks),
    room,
    passOn: way.passOn,
    sharesBodies: options.freeBodies,
    keepsOrder: startsWithOne,
    gathers: startsWithOne ? gatheredOf(size) : 1,
    priority: options.consumerPriority,
    log: options.log,
    onDelivery: (delivery) => take(delivery),
    onReady: () => {
      window?.connected();
      way.onReady();
    },
    onLost: way.onLost,
  });
  const window = size && new Window(consumer, size, way.run);
  const take = way.strict ?? takerOf();
  return consumer;

  function takerOf(): (delivery: Delivery) => void {
    if (window !== undefined) return (delivery) => window.take(delivery);
    if (!ackEarly) return (delivery) => way.run(delivery, () => {});
    const intake = new EarlyIntake(consumer, prefetch, way.runThrough, room);
    return (delivery) => void intake.take(delivery);
  }
}
