/** Queues that drop what they have had (`x-message-deduplication`), and what tells them. */
import type { Field, TaskProperties } from "./task.ts";

/** What they tell a task by. */
export const DEDUPLICATION_HEADER = "x-deduplication-header";

/** @param queueArguments of a queue, as far as its sender says them */
export function dropsDuplicates(queueArguments: Readonly<Record<string, Field>> = {}): boolean {
  return queueArguments["x-message-deduplication"] === true;
}

/** Properties of a task that is told by its id, unless its headers say by what. */
export function toldById<T extends TaskProperties & { readonly messageId: string }>(
  properties: T,
): T {
  const { messageId, headers } = properties;
  return { ...properties, headers: { [DEDUPLICATION_HEADER]: messageId, ...headers } };
}
