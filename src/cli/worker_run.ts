/** Runs a worker until it ends, as signals have it. */
import type { ListenAddress } from "../observe/http.ts";
import type { WorkerPages } from "../worker/pages.ts";
import type { Worker } from "../worker/worker.ts";
import type { Host } from "./main.ts";
import { onSignals } from "./signals.ts";

/** How long the end waits for a reader of stdout, in milliseconds. */
const LAST_LINES_MS = 2_000;

export interface WorkerRun {
  /** Ends what is running, at once. */
  readonly kill: () => void;
  /** Served at that address, if there is one. */
  readonly pages: WorkerPages | undefined;
  readonly at: ListenAddress | undefined;
}

/**
 * @returns the exit status
 * @throws {ToolError} see Worker.run, or nothing can listen at that address
 */
export async function runToTheEnd(
  host: Host,
  worker: Worker,
  { kill, pages, at }: WorkerRun,
): Promise<number> {
  const signals = onSignals({
    end: () => worker.drain(),
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
    return await worker.run();
  } finally {
    kill();
    await host.flushed(LAST_LINES_MS);
    signals.dispose();
  }
}

/** Of this machine. */
export function hostname(): string {
  try {
    return Deno.hostname();
  } catch {
    return "unknown"; // the permission is not given
  }
}
