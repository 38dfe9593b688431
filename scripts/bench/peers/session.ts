/** What the bench's peers for other queues have in common: their arguments, and what they print. */
// deno-lint-ignore-file no-console
import { percentile } from "../measure.ts";

/** Work as the command line gives it: `MODE PORT QUEUE COUNT WINDOW SIZE [SPREAD]`. */
export interface Load {
  /** On 127.0.0.1. */
  readonly port: number;
  readonly queue: string;
  readonly count: number;
  /** Tasks that may be unconfirmed or unacknowledged at the same time, of all connections. */
  readonly window: number;
  /** Bytes of a body. */
  readonly size: number;
  /** Connections that share the work, or in the mode `queues` the queues. */
  readonly spread: number;
}

/** One connection to a server, as far as a work queue needs it. */
export interface Session {
  /** Resolves when the task is confirmed. */
  send(queue: string, body: string): Promise<unknown>;
  /** Takes tasks, at most `window` at a time, until `take` returns false; resolves at the end. */
  work(queue: string, count: number, window: number, take: () => void): Promise<void>;
}

export type Open = (load: Load) => Promise<Session>;

/** Runs what the command line asks for, prints what it took, and ends the process. */
export async function runPeer(open: Open): Promise<never> {
  const [mode, port, queue, ...numbers] = Deno.args as [string, string, string, ...string[]];
  const [count, window, size, spread = 1] = numbers.map(Number) as [number, number, number];
  const load = { port: Number(port), queue, count, window, size, spread };
  if (mode === "latency") {
    console.log(await latency(load, open));
  } else {
    const modes = { publish, consume, queues };
    const seconds = await modes[mode as keyof typeof modes](load, open);
    console.log(`${seconds.toFixed(6)} ${await peakMemory()} 0`);
  }
  Deno.exit();
}

async function publish(load: Load, open: Open): Promise<number> {
  return await timed(load, open, (session, { queue, count, window, size }) => {
    const body = "x".repeat(size);
    return inWindow(count, window, () => session.send(queue, body));
  });
}

async function consume(load: Load, open: Open): Promise<number> {
  return await timed(
    load,
    open,
    (session, { queue, count, window }) => session.work(queue, count, window, () => {}),
  );
}

async function queues(load: Load, open: Open): Promise<number> {
  const body = "x".repeat(load.size);
  let next = 0;
  return await timed(
    { ...load, spread: 1 },
    open,
    (session, { queue, count, window }) =>
      inWindow(count, window, () => session.send(`${queue}.${next++ % load.spread}`, body)),
  );
}

/** Seconds that all connections take for their parts, when all are open. */
async function timed(
  load: Load,
  open: Open,
  act: (session: Session, part: Load) => Promise<void>,
): Promise<number> {
  const sessions = await Promise.all(Array.from({ length: load.spread }, () => open(load)));
  const started = performance.now();
  await Promise.all(sessions.map((session, i) => {
    const count = Math.floor(load.count / load.spread) + (i < load.count % load.spread ? 1 : 0);
    const window = Math.max(1, Math.floor(load.window / load.spread));
    return count === 0 ? undefined : act(session, { ...load, count, window });
  }));
  return (performance.now() - started) / 1000;
}

async function inWindow(
  count: number,
  window: number,
  send: () => Promise<unknown>,
): Promise<void> {
  let next = 0;
  await Promise.all(Array.from({ length: Math.min(window, count) }, async () => {
    while (next++ < count) await send();
  }));
}

async function latency(load: Load, open: Open): Promise<string> {
  const [sender, receiver] = await Promise.all([open(load), open(load)]);
  let started = Promise.withResolvers<number>();
  receiver.work(load.queue, load.count, 1, () => started.resolve(performance.now()));
  return await measureLatency(load.count, async () => {
    await sender.send(load.queue, "x".repeat(load.size));
  }, async () => {
    const at = await started.promise;
    started = Promise.withResolvers();
    return at;
  });
}

/** Milliseconds between two tasks. */
const PAUSE_MS = 2;

/**
 * Sends tasks one by one, each when the one before has begun.
 *
 * @param begun resolves with the time at which the work on the task began
 * @returns milliseconds: median and p99 from confirm to start (0 where the work began sooner), then
 * the same from send to start
 */
export async function measureLatency(
  count: number,
  send: () => Promise<void>,
  begun: () => Promise<number>,
): Promise<string> {
  const waits: number[] = [];
  const whole: number[] = [];
  for (let i = 0; i < count; i++) {
    const sent = performance.now();
    const [confirmed, start] = await Promise.all([send().then(() => performance.now()), begun()]);
    waits.push(Math.max(0, start - confirmed));
    whole.push(start - sent);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  return [waits, whole].flatMap((all) => [percentile(all, 0.5), percentile(all, 0.99)])
    .map((ms) => ms.toFixed(4)).join(" ");
}

/** VmHWM of /proc/self/status in kB, or 0 where there is none. */
export async function peakMemory(): Promise<string> {
  const status = await Deno.readTextFile("/proc/self/status").catch(() => "");
  return status.match(/^VmHWM:\s+(\d+)/m)?.[1] ?? "0";
}
