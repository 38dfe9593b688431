/** However many ask about a broker, it is looked at once for all who ask meanwhile. */
import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { Looks } from "../../src/web/looks.ts";
import { Shared } from "../../src/web/shared.ts";
import type { Source } from "../../src/web/source.ts";

const NEVER = () => Promise.reject(new Error("nobody asks for it"));

Deno.test("those who ask for numbers while they are made get the next ones, in the same bytes", async () => {
  const first = Promise.withResolvers<string>();
  let calls = 0;
  const source: Source = {
    overview: NEVER,
    queues: NEVER,
    queue: NEVER,
    metrics: () => ++calls === 1 ? first.promise : `numbers ${calls}\n`,
    onChange: () => () => {},
  };
  const looks = new Looks(source);
  const asked = looks.metrics();
  await Promise.resolve();
  assertEquals(calls, 1);
  const crowd = Array.from({ length: 20 }, () => looks.metrics());
  first.resolve("numbers 1\n");
  const text = (parts: Uint8Array[]) => parts.map((part) => new TextDecoder().decode(part)).join();
  assertEquals(text(await asked), "numbers 1\n");
  const answers = await Promise.all(crowd);
  assertEquals(calls, 2);
  assertEquals(text(answers[0]!), "numbers 2\n");
  for (const parts of answers) assertStrictEquals(parts, answers[0]);
});

Deno.test("what fails for those who share it is tried again for who asks next", async () => {
  let calls = 0;
  const shared = new Shared(() => {
    return ++calls === 1 ? Promise.reject(new Error("away")) : Promise.resolve(calls);
  });
  const [one, other] = [shared.get(), shared.get()];
  await assertRejects(() => one, Error, "away");
  await assertRejects(() => other, Error, "away");
  assertEquals(await shared.get(), 2);
});
