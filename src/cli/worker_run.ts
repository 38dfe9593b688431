/** Runs a worker until it ends, as signals have it. */
import type { ListenAddress } from "../observe/http.ts";
import type { WorkerPages } from "../worker/pages.ts";
import type { Worker } from "../worker/worker.ts";
import { after } from "../time/timer.ts";
import type { Host } from "./main.ts";
import { inWords, openServiceManager, SERVICE_VARIABLES } from "./service.ts";
import { onSignals } from "./signals.ts";

/**
 * How long a service manager waits for a worker whose broker cannot be reached, in milliseconds: it
 * has started well, and works as soon as it can.
 */
const PATIENCE_MS = 5_000;

/** How long the end waits for a reader of stdout, in milliseconds. */
const LAST_LINES_MS = 2_000;

export interface WorkerRun {
  /** Ends what is running, at once. */
  readonly kill: () => void;
  /** Served at that address, if there is one. */
  readonly pages: WorkerPages | undefined;
  readonly at: ListenAddress | undefined;
  /** Resolves when all queues are consumed for the first time. */
  readonly ready: Promise<void>;
}

/**
 * @returns the exit status
 * @throws {ToolError} see Worker.run, or nothing can listen at that address
 */
export async function runToTheEnd(
  host: Host,
  worker: Worker,
  { kill, pages, at, ready }: WorkerRun,
): Promise<number> {
  const manager = await openServiceManager(host, () => describe(worker));
  if (host.env("NOTIFY_SOCKET")) { for (const name of SERVICE_VARIABLES) Deno.env.delete(name); }
  const signals = onSignals({
    end: () => {
      manager?.ending();
      worker.drain();
    },
    abort: kill,
    quiet: () => {
      if (worker.quiet()) host.log.info("no more tasks until SIGCONT");
    },
    resume: () => {
      if (worker.resume()) host.log.info("takes tasks again");
    },
    status: () => {
      host.log.info("status", worker.describe());
      for (const run of worker.running()) host.log.info("running", run);
    },
  });
  try {
    await using server = at && await pages!.serve(at, worker);
    if (server) host.log.info(`metrics at ${server.url}/metrics`);
    if (manager !== undefined) {
      const patience = after(PATIENCE_MS, () => manager.ready());
      void ready.then(() => {
        patience.cancel();
        manager.ready();
      });
    }
    return await worker.run();
  } finally {
    kill();
    await manager?.close();
    await host.flushed(LAST_LINES_MS);
    signals.dispose();
  }
}

/** For a service manager. */
function describe(worker: Worker): string {
  const { running = 0, done = 0, delayed = 0, dead = 0, returned = 0 } = worker.describe();
  const tasks = [[done, "done"], [delayed, "delayed"], [dead, "dead"], [
    returned,
    "returned",
  ]] as const;
  const counts = inWords([[running, "task runs", "tasks run"], ...tasks]) || "no task yet";
  return worker.consuming ? counts : `takes no tasks; ${counts}`;
}

/** Of this machine. */
export function hostname(): string {
  try {
    return Deno.hostname();
  } catch {
    return "unknown"; // the permission is not given
  }
}
