import { assertEquals } from "@std/assert";
import { TakenSizes } from "../../src/front/taken_sizes.ts";

Deno.test("one body of unknown size is tried alone at a time, and what surely is taken goes on", async () => {
  const sizes = new TakenSizes();
  const events: string[] = [];
  const trials: PromiseWithResolvers<boolean>[] = [];
  const send = (size: number) =>
    sizes.send(
      size,
      () => Promise.resolve(void events.push(`${size} together`)),
      () => {
        events.push(`${size} alone`);
        const trial = Promise.withResolvers<boolean>();
        trials.push(trial);
        return trial.promise;
      },
    );
  const sent = [5_000, 9_000, 4_000, 7_000, 10].map(send);
  assertEquals(events, ["5000 alone", "10 together"]);
  trials[0]!.resolve(true);
  await sent[2];
  assertEquals(events.slice(2), ["9000 alone", "4000 together"]);
  // Refused: it tells nothing of smaller ones.
  trials[1]!.resolve(false);
  await sent[1];
  assertEquals(events.slice(4), ["7000 alone"]);
  // One that comes now waits like the others.
  sent.push(send(8_000));
  trials[2]!.reject(new Error("gone"));
  await sent[3]!.catch(() => {});
  assertEquals(events.slice(5), ["8000 alone"]);
  trials[3]!.resolve(true);
  await Promise.allSettled(sent);
});
