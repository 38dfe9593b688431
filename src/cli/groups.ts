/** What options are about: every option names its group, by which help and manual are ordered. */

/** Titles, in the order of the pages. `--help KEY` shows one, so that each begins with its key. */
export const GROUPS = {
  connection: "Connection",
  target: "Target, the other broker",
  queue: "Queue",
  task: "Task",
  input: "Input of many tasks",
  schedule: "Schedule",
  answer: "Answer",
  http: "HTTP",
  command: "Command, or other work",
  outcome: "Outcome",
  data: "Data",
  limits: "Limits",
  lifecycle: "Lifecycle",
  watching: "Watching",
  general: "General",
} as const;

export type Group = keyof typeof GROUPS;
