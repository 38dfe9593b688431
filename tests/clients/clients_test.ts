/**
 * Other makers' clients play one scenario against each broker:
 *
 * 1. declare PREFIX.work, which dead-letters to PREFIX.dead; publish one, two, three, confirmed
 * 2. with prefetch 1: ack one; nack two for requeueing, take it again and ack it; nack three
 * 3. take three from PREFIX.dead, with the reason in x-death
 * 4. publish mandatory to a queue that is not there: returned
 * 5. publish four, say ready; the broker is restarted
 * 6. connect again, publish five, take four and five, say done
 *
 * All clients play at once, so that a broker need be restarted only once.
 */
import { assertEquals } from "@std/assert";
import { startBroker } from "../support/embedded.ts";
import { type Output, spawn } from "../support/process.ts";
import { rabbitmqMissing, startRabbitmq } from "../support/rabbitmq.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { type ClientProgram, clientPrograms } from "./programs.ts";

/** What each program says on stdout. */
const SCENARIO = [
  "confirmed 3",
  "got one first",
  "got two first",
  "got two again",
  "got three first",
  "dead three rejected",
  "returned 312",
  "ready",
  "cut",
  "after four",
  "after five",
  "done",
];

/** The command-line tools know neither confirms nor nack, and hold no connection. */
const AMQP_TOOLS_SCENARIO = [
  "published 3",
  "got one",
  "got two",
  "got three",
  "empty",
  "ready",
  "after four",
  "after five",
  "done",
];

/** A broker of one test, with its own data. */
interface Restartable extends AsyncDisposable {
  readonly url: string;
  restart(): Promise<void>;
}

for (
  const [name, missing, start] of [
    ["RabbitMQ", rabbitmqMissing, startRabbitmq],
    ["broker", undefined, startBroker],
  ] as const
) {
  Deno.test({
    name:
      `${name}: Other makers' clients publish, consume, dead-letter, and go on after a restart` +
      (missing ? ` (ignored: ${missing})` : ""),
    ignore: missing !== undefined || (Deno.env.get("CONTRACT_BROKER") ?? name) !== name,
    fn: async (test) => {
      await using folder = await tempDir();
      const programs = await clientPrograms(folder.path);
      await using broker: Restartable = await start();
      const outputs = await playAll(programs.filter((program) => !program.missing), broker);
      for (const { name, missing } of programs) {
        await test.step({
          name: missing ? `${name} (ignored: ${missing})` : name,
          ignore: missing !== undefined,
          fn: () => {
            const { stdout, stderr, code } = outputs.get(name)!;
            const expected = name === "amqp-tools" ? AMQP_TOOLS_SCENARIO : SCENARIO;
            assertEquals(stdout.trimEnd().split("\n"), expected, stderr);
            assertEquals(code, 0, stderr);
          },
        });
      }
    },
  });
}

/** Plays the scenario with all programs at once; one that gets stuck is killed. */
async function playAll(
  programs: readonly ClientProgram[],
  broker: Restartable,
): Promise<ReadonlyMap<string, Output>> {
  const url = broker.url.replace(/\/$/, ""); // to rabbitmq-c a slash means the vhost ""
  const players = programs.map(({ name, command, args }) => ({
    name,
    process: spawn(command, { args: [...args, url, uniqueName("clients")], stdin: "open" }),
  }));
  await Promise.allSettled(players.map(({ process }) => process.waitForLine(/^ready$/)));
  await broker.restart();
  return new Map(
    await Promise.all(players.map(async ({ name, process }) => {
      // Only one of them waits for it; the others may have ended by now.
      await process.write("go on\n").catch(() => {});
      const output = await process.ended().catch(() => {
        process.kill("SIGQUIT"); // a Go program then says on stderr where it is stuck
        return process.ended();
      });
      return [name, output] as const;
    })),
  );
}
