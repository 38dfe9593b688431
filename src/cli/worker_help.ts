/** What is told about `worker`. */
import { EXIT_HELP, URL_HELP } from "./connection_flags.ts";
import type { HelpPage } from "./help/page.ts";
import { QUEUE_NAMES_HELP } from "./queue_names.ts";
import { WORKER_COMMANDS } from "./worker_commands.ts";
import { WORKER_FLAGS } from "./worker_flags.ts";

export const HELP: HelpPage = {
  name: "worker",
  summary: "take tasks from a queue and do them",
  usage: [
    "worker [OPTION]... -- COMMAND [ARG]...",
    "worker [OPTION]... --shell TEXT | --handler FILE | --post URL",
    "worker SUBCOMMAND ...",
  ],
  about: "Takes tasks from a queue, one at a time unless told otherwise, does them, and " +
    "acknowledges each only when it is done. A worker that is killed loses nothing: the broker " +
    "gives its tasks to another one, so that a task can run twice. When the connection is lost, " +
    "it connects again, for ever unless it is to end. Without a command it works one second for " +
    "every dot in a task.",
  examples: [
    [
      "Run a command for each task, four at a time; the task is its stdin:",
      "worker -q thumbnails -c 4 -- ./resize",
    ],
    ["Post each task to a web application:", "worker -q mails --post http://127.0.0.1:8000/tasks"],
    ["Do what waits and end, under cron:", "worker -q reports --exit-when-empty -- ./report"],
  ],
  flags: WORKER_FLAGS,
  essential: [
    "url",
    "queue",
    "concurrency",
    "shell",
    "post",
    "timeout",
    "max-attempts",
    "exit-when-empty",
    "config",
    "help",
  ],
  commands: WORKER_COMMANDS,
  words: "command",
  sections: [
    [
      "Commands",
      `  The task's body is on stdin. {id}, {queue} and {attempt} in the arguments are replaced; {{id}}
  stands for {id} itself. A task whose id begins with "-" does not become an option: where {id}
  begins an argument before "--", it goes to NAME.dead. AMQP_URL, WORK_QUEUE and TASK_* of the
  worker's own environment are left out: a command that sends the next task needs --pass-url, and
  names its queue. Exit status:
    0               done
    64 65 66 76 78  it will never work: to NAME.dead
    79              again after the time in TASK_SNOOZE_FILE, or --snooze; counts as no attempt
    255             put it back and end the worker with 75
    126 127         of --shell: cannot run here; put it back and end the worker, as when COMMAND
                    cannot be executed
    others          failed: another attempt after --backoff, at last to NAME.dead`,
    ],
    [
      "Modules",
      `  The default export is called with (task, context). task: id, bytes, text(), json(),
  properties, queue. context: signal (AbortSignal), attempt, log(text), progress(done, total).
  An exception is a failed attempt; one whose name is RejectTask sends the task to NAME.dead, one
  whose name is RetryTask may have delayMs. It shares the worker's thread: code that computes for
  half a minute without an await stops the heartbeats, and the broker gives its task to another
  worker; such work is a command's. A compiled worker takes JavaScript only.`,
    ],
    [
      "Answers",
      `  Who waits for a task (its reply_to) is sent what the command wrote to stdout, what the module
  returned (text, bytes, or as JSON) or what the web application answered, at most 1 MiB of it; of a
  dead task why. The answer is sent before the task is acknowledged, with the task's correlation id
  and headers task-*. Who asked for it is told how far the work is: context.progress(done, total),
  or the last line of TASK_PROGRESS_FILE, such as 3/10, 30% or words.`,
    ],
    [
      "Web applications",
      `  --post sends a task as a POST request: its body, Content-Type and Content-Encoding as they are;
  Task-Id, Task-Queue, Task-Attempt, Task-Max-Attempts, Task-Redelivered, Task-Exchange,
  Task-Routing-Key, Task-Type, Task-Priority, Task-Correlation-Id, Task-Reply-To, Task-App-Id,
  Task-Timestamp and Task-Deadline (seconds since 1970), percent-encoded, where it has them;
  Task-Headers, its headers as JSON, or when that has over 4 KiB its length in
  Task-Headers-Left-Out; traceparent and tracestate. Redirects are not followed, proxies of the
  environment not used. Status:
    2xx                 done
    408 409 425 429     failed: another attempt after Retry-After or --backoff
    429 503             with Retry-After: again after that; counts as no attempt
    other 4xx           it will never work: to NAME.dead, with the first 4 KiB of the answer
    others, no answer   failed: another attempt, at last to NAME.dead
  The token and the secret file are read again when they change; every key in the latter signs.`,
    ],
    [
      "Signals",
      `  SIGTERM, SIGINT, SIGHUP: take no more tasks, finish within --grace, put the rest back, exit 0.
  Again, or SIGQUIT, SIGUSR1: end at once, with 128 plus the signal's number. SIGTSTP: take no more
  tasks and stay; SIGCONT: take them again. SIGUSR2: say on stderr what is running. SIGKILL leaves a
  running command behind, while the broker gives its task to another worker. Under nohup, use
  setsid: SIGHUP is not ignored.`,
    ],
    QUEUE_NAMES_HELP,
    URL_HELP,
    EXIT_HELP,
  ],
};
