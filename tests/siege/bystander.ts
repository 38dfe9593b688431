/**
 * Somebody who only wants to do his work: publishes with confirm and gets, from two connections,
 * every 20 ms, and tells how long the slowest round took, from the first line of its input on. A
 * process of its own, so that what the attackers compute does not count.
 *
 * Usage: deno run -A tests/siege/bystander.ts PORT PID, of the broker. It ends when its input ends,
 * and prints a {@link Report} as one line of JSON.
 */
import { openPeer } from "../support/protocol_peer.ts";
import { threadTime } from "../support/thread_time.ts";

/** Milliseconds from one round to the next. */
const PACE_MS = 20;

/** Milliseconds that the last round may still take. */
const GRACE_MS = 60_000;

export interface Report {
  rounds: number;
  /** Milliseconds of the slowest round. */
  longest: number;
  /**
   * The same, without what the broker and the bystander themselves waited for a processor: how it
   * would have been on a machine that does nothing else.
   */
  longestUnstarved: number;
  /** Milliseconds that the broker computed in one round, at most. */
  mostComputed: number;
  /** Why it could not go on. */
  error?: string;
}

async function main(): Promise<void> {
  const broker = Number(Deno.args[1]);
  let report = nothingYet();
  let over = false;
  const input = Deno.stdin.readable
    .pipeTo(new WritableStream({ write: () => void (report = nothingYet()) }))
    .then(() => over = true);
  try {
    await using publisher = await openPeer(Number(Deno.args[0]));
    await using consumer = await openPeer(Number(Deno.args[0]));
    const [out, back] = [await publisher.open(), await consumer.open()];
    const queue = `bystander-${Deno.pid}`;
    await out.call("queue.declare", { queue, durable: true });
    await out.call("confirm.select");
    print("ready");
    while (!over) {
      const counted = report;
      const before = [threadTime(broker), threadTime(Deno.pid)] as const;
      const start = performance.now();
      await out.publish({ routingKey: queue }, "work", { deliveryMode: 2 });
      await out.expect("basic.ack", GRACE_MS);
      await back.send("basic.get", { queue, noAck: true });
      await back.expectContent("basic.get-ok", GRACE_MS);
      const took = performance.now() - start;
      const after = [threadTime(broker), threadTime(Deno.pid)] as const;
      const starved = after[0].starved - before[0].starved + after[1].starved - before[1].starved;
      counted.rounds++;
      counted.longest = Math.max(counted.longest, took);
      counted.longestUnstarved = Math.max(counted.longestUnstarved, took - starved);
      const computed = after[0].computed - before[0].computed;
      counted.mostComputed = Math.max(counted.mostComputed, computed);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, PACE_MS - took)));
    }
    await out.call("queue.delete", { queue });
  } catch (error) {
    report.error = (error as Error).message;
  }
  print(JSON.stringify(report));
  await input;
}

function nothingYet(): Report {
  return { rounds: 0, longest: 0, longestUnstarved: 0, mostComputed: 0 };
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

await main();
