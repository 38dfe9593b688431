/**
 * Large bodies are not left to the garbage collector: a large array outlives its task for long,
 * because it weighs next to nothing where V8 looks for garbage.
 */
import type { Delivery } from "../amqp/consumption.ts";
import { type FinishedTasks, LARGE_BYTES } from "./finished.ts";

/** @param finished those that are kept, to be told from others, which takes their bodies */
export function freeBody({ bodyBytes, task }: Delivery, finished: FinishedTasks): void {
  if (bodyBytes < LARGE_BYTES) return;
  const { body } = task;
  if (body.length < LARGE_BYTES || body.length < body.buffer.byteLength) return;
  if (finished.keeps(task)) return;
  // Whoever still writes it to a pipe or a socket has it until then.
  (body.buffer as ArrayBuffer).transfer(0);
}
