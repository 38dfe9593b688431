import { assertEquals } from "@std/assert";
import { Chain, type Place } from "../../src/worker/chain.ts";
import { Random } from "../support/random.ts";

Deno.test("a chain keeps what was added and not taken out, in order, as an array would", () => {
  const random = new Random(7);
  const chain = new Chain<number>();
  let expected: Place<number>[] = [];
  for (let i = 0; i < 2_000; i++) {
    if (expected.length === 0 || random.below(2) === 0) expected.push(chain.add(i));
    else {
      const place = expected[random.below(expected.length)]!;
      chain.delete(place);
      expected = expected.filter((other) => other !== place);
    }
    assertEquals(chain.size, expected.length);
    if (i % 50 === 0) assertEquals(chain.values(), expected.map(({ value }) => value));
  }
});
