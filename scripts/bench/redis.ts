import { freePorts, waitForPort } from "../../tests/support/ports.ts";
import { installed, spawn } from "../../tests/support/process.ts";
import { time } from "./measure.ts";
import { LOAD } from "./throughput.ts";

/** Connections, of which each has a part of the window on its way. */
const CONNECTIONS = 10;

/** Why Redis cannot be measured, or undefined. */
export const redisMissing = ["redis-server", "redis-benchmark"].every(installed)
  ? undefined
  : "Redis (redis-server, redis-tools) is not installed";

/**
 * Adds to a stream of Redis that syncs every write before it answers, by its own client.
 *
 * @returns tasks a second
 */
export async function redisRate(folder: string, count: number): Promise<number> {
  const port = freePorts(1)[0]!;
  // What another round has left would be loaded first, while nobody is served.
  const dir = await Deno.makeTempDir({ dir: folder, prefix: "redis" });
  await using _server = spawn("redis-server", {
    args: ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", dir, "--save", ""]
      .concat(["--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"]),
    killOnDispose: true,
  });
  await waitForPort("Redis", port);
  const body = "x".repeat(LOAD.size);
  const { stdout } = await time([
    ...["redis-benchmark", "-p", `${port}`, "-q", "--csv", "-n", String(count)],
    ...["-c", String(CONNECTIONS), "-P", String(LOAD.window / CONNECTIONS)],
    ...["XADD", "tasks", "*", "body", body],
  ]);
  const line = stdout.trim().split("\n").at(-1)!;
  return Number(line.match(/^"[^"]*","([\d.]+)"/)![1]);
}
