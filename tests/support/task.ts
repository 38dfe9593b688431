import type { Task } from "../../src/task/task.ts";

/** A task with nothing in it, as it comes for the first time, but for what a test says of it. */
export function taskWith(overrides: Partial<Task> = {}): Task {
  return {
    id: "t-1",
    body: new Uint8Array(),
    properties: {},
    queue: "q",
    exchange: "",
    routingKey: "q",
    redelivered: false,
    ...overrides,
  };
}
