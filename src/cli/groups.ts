/** What options are about: every option names its group, by which help and manual are ordered. */

/** Titles, in the order of the pages. */
export const GROUPS = {
  connection: "Connection",
  target: "The other broker",
  queue: "Queues",
  task: "Tasks",
  input: "Many tasks",
  schedule: "Times",
  answer: "Answers",
  http: "HTTP",
  command: "The work",
  outcome: "Outcome",
  data: "Data",
  limits: "Limits",
  lifecycle: "Lifecycle",
  watching: "Watching",
  general: "General",
} as const;

export type Group = keyof typeof GROUPS;
