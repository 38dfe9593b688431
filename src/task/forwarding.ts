/** How a task is copied from one broker to another, and what its headers say of that. Pure. */
import {
  type CopiedTask,
  copyProperties,
  HEADER,
  route,
  steers,
  surfaced,
  toInteger,
} from "./headers.ts";
import type { Field, ReceivedTask, TaskProperties } from "./task.ts";

/** What a task's header says of its way from one broker to another. */
export interface Forwarding {
  /** How often it was forwarded, this time included. */
  readonly count: number;
  /** The host that did it, the broker that it had the task from, and the queue there. */
  readonly host: string;
  readonly broker: string;
  readonly queue: string;
  /** When; ISO 8601. */
  readonly at: string;
  /** How often it has sent this copy; above 1 an earlier one may have arrived, too. */
  readonly sent: number;
  /** Its own broker had delivered it before: it may have been forwarded then. */
  readonly redelivered: boolean;
}

/** How often a task was forwarded before. */
export function forwardCount(task: Pick<ReceivedTask, "isPlain" | "properties">): number {
  if (task.isPlain === true) return 0;
  const forwarded = task.properties.headers?.[HEADER.forwarded];
  const isTable = typeof forwarded === "object" && forwarded !== null && "count" in forwarded;
  return isTable ? toInteger(forwarded.count as Field) ?? 0 : 0;
}

/**
 * Properties of the copy of a task that goes to another broker. What it has been through (attempts,
 * crashes, the last error) goes along.
 *
 * @param waiting it is not due: the work queue that it comes back to, where it waits in a queue of
 *   ours, and what is left to wait after that
 * @param passedMs of its time to live, when it arrives, or has waited there
 */
export function forwardedProperties(
  task: CopiedTask,
  forwarding: Forwarding,
  passedMs: number,
  waiting?: { readonly queue: string | undefined; readonly leftMs: number | undefined },
): TaskProperties {
  const copy = copyProperties(task.properties, passedMs, {
    ...route(task),
    [HEADER.originQueue]: waiting?.queue,
    [HEADER.wait]: waiting?.leftMs || undefined,
    [HEADER.forwarded]: { ...forwarding },
  });
  // Its time to live begins when it is due.
  return waiting === undefined ? surfaced(copy) : copy;
}

/** Whether all that {@linkcode forwardedProperties} does to a task that is due is to add its headers. */
export function isForwardedByAddition(task: ReceivedTask): boolean {
  if (task.exchange !== "" || task.queue === "") return false;
  if (task.isPlain === true) return true;
  const { expiration, headers, userId } = task.properties;
  if (expiration !== undefined || userId !== undefined) return false;
  for (const name in headers) if (steers(name) || name.startsWith("task-")) return false;
  return true;
}

/** Those headers. */
export function forwardedHeaders(forwarding: Forwarding): Record<string, Field> {
  return { [HEADER.hops]: 1, [HEADER.forwarded]: { ...forwarding } };
}
