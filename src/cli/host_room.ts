/** Memory for tasks, as this host has it. */
import { TaskRoom } from "../worker/task_room.ts";
import { hostMemory } from "./host_memory.ts";

/** Bytes of memory that a worker takes besides the bodies of its tasks, with what it runs. */
const WORKER_BYTES = 88 * 1024 * 1024;
/** The least that is left for bodies, however little memory there is. */
const LEAST_BYTES = 16 * 1024 * 1024;

/**
 * Finds out when there are large tasks: that costs as much as a third of a start.
 * @param told what the user says that there is, in bytes
 */
export function hostRoom(queues: number, told: number | undefined): TaskRoom {
  return new TaskRoom(() => {
    const limit = hostMemory(told) ?? Infinity;
    // Of each queue there may be some in hand, and one that is coming.
    const bytes = Math.max(LEAST_BYTES, limit - WORKER_BYTES) / queues / 2;
    return Promise.resolve(Math.floor(bytes));
  });
}
