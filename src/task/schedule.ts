/** Tasks that are not to be run before some time has passed. */
import { UsageError } from "../errors.ts";
import { COPY_HEADERS, firstParkedProperties } from "./headers.ts";
import type { Task, TaskProperties } from "./task.ts";
import {
  beginWait,
  delayQueue,
  MAX_QUEUE_NAME_BYTES,
  type QueueSpec,
  type QueueType,
  STANDARD_TIERS,
} from "./topology.ts";

/** A task that waits for its time. */
export interface Scheduled {
  /** Where it waits first. From there it comes to its work queue, and a worker sees to the rest. */
  readonly delayQueue: QueueSpec;
  readonly properties: TaskProperties;
}

/**
 * Where a task waits that is not to be run before `waitMs` have passed, and its properties there. It
 * is never early. Its time to live begins when it is due.
 *
 * @param waitMs in milliseconds; of a time, what the sender's clock says is left
 * @param type of the delay queue, should it have to be created
 * @returns undefined when it is due
 * @throws {UsageError} the queue's name leaves no room for the delay queue's; or a header would
 *   have the broker route the task elsewhere meanwhile
 */
export function schedule(
  task: Pick<Task, "properties" | "queue">,
  waitMs: number,
  type: QueueType = "quorum",
): Scheduled | undefined {
  if (waitMs <= 0) return undefined;
  const nameBytes = new TextEncoder().encode(task.queue).length;
  if (nameBytes > MAX_QUEUE_NAME_BYTES) {
    throw new UsageError(
      `the name of a queue whose tasks wait must have at most ${MAX_QUEUE_NAME_BYTES} bytes, and ` +
        `has ${nameBytes}`,
    );
  }
  for (const name of COPY_HEADERS) {
    if (task.properties.headers?.[name] === undefined) continue;
    throw new UsageError(
      `a task that waits must be without the header ${name}, by which brokers send it on at once`,
    );
  }
  const { tierMs, leftMs = 0 } = beginWait(waitMs, STANDARD_TIERS);
  return {
    delayQueue: delayQueue(task.queue, tierMs, type),
    // Each delay queue on the way takes its delay off the time to live.
    properties: firstParkedProperties(task, { attempts: 0, waitMs: leftMs }, -leftMs),
  };
}
