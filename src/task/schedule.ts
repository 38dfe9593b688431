/** Tasks that are not to be run before a certain time. */
import { UsageError } from "../errors.ts";
import { parkedProperties } from "./headers.ts";
import type { Task, TaskProperties } from "./task.ts";
import {
  beginWait,
  delayQueue,
  MAX_QUEUE_NAME_BYTES,
  type QueueSpec,
  type QueueType,
  SHORTEST_WAIT_MS,
  STANDARD_TIERS,
} from "./topology.ts";

/** A task that waits for its time. */
export interface Scheduled {
  /** Where it waits first. From there it comes to its work queue, and a worker sees to the rest. */
  readonly delayQueue: QueueSpec;
  readonly properties: TaskProperties;
}

/**
 * Where a task waits that is not to be run before `dueAt`, and its properties there. It is never
 * early, and up to {@linkcode SHORTEST_WAIT_MS} late. Its time to live begins when it is due.
 *
 * @param dueAt milliseconds since 1970, as is `now`
 * @param type of the delay queue, should it have to be created
 * @returns undefined when it is due
 * @throws {UsageError} the queue's name leaves no room for the delay queue's; or a header would
 *   have the broker route the task elsewhere meanwhile
 */
export function schedule(
  task: Pick<Task, "properties" | "queue">,
  dueAt: number,
  now: number,
  type: QueueType = "quorum",
): Scheduled | undefined {
  if (dueAt <= now) return undefined;
  const nameBytes = new TextEncoder().encode(task.queue).length;
  if (nameBytes > MAX_QUEUE_NAME_BYTES) {
    throw new UsageError(
      `the name of a queue whose tasks wait must have at most ${MAX_QUEUE_NAME_BYTES} bytes, and ` +
        `has ${nameBytes}`,
    );
  }
  for (const name of ["CC", "BCC"]) {
    if (task.properties.headers?.[name] === undefined) continue;
    throw new UsageError(
      `a task that waits must be without the header ${name}, by which brokers send it on at once`,
    );
  }
  // A worker does not wait for the last bit of a wait, so it gets one that may be left out.
  const wait = dueAt - now + SHORTEST_WAIT_MS - 1;
  const { tierMs, ...notBefore } = beginWait(wait, STANDARD_TIERS, now);
  return {
    delayQueue: delayQueue(task.queue, tierMs, type),
    properties: parkedProperties(task, { attempts: 0, ...notBefore }, dueAt),
  };
}
