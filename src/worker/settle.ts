/** The only place that tells the broker how a task ended. */
import type { Delivery } from "../amqp/consumer.ts";
import type { Logger } from "../observe/log.ts";
import type { Outcome } from "../task/handler.ts";

/** Turns an outcome into an acknowledgement or a requeue of its delivery. */
export function settle(delivery: Delivery, outcome: Outcome, log: Logger): void {
  const { id } = delivery.task;
  switch (outcome.kind) {
    case "done":
      if (!delivery.ack()) {
        log.warn(
          "a task is done, but the connection that brought it is gone: the broker will deliver " +
            "it again",
          { id },
        );
      }
      return;
    case "interrupted":
      delivery.release();
      return;
    case "failed":
    case "rejected":
      log.error(`a task failed and goes back to the queue: ${outcome.reason}`, { id });
      delivery.release();
  }
}
