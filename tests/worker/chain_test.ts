import { assertEquals } from "@std/assert";
import { Chain, type Link } from "../../src/worker/chain.ts";
import { Random } from "../support/random.ts";

Deno.test("a chain keeps what was added and not taken out, in order, as an array would", () => {
  const random = new Random(7);
  const chain = new Chain<number>();
  let expected: Link<number>[] = [];
  for (let i = 0; i < 2_000; i++) {
    if (expected.length === 0 || random.below(2) === 0) expected.push(chain.add(i));
    else {
      const link = expected[random.below(expected.length)]!;
      chain.delete(link);
      expected = expected.filter((other) => other !== link);
    }
    assertEquals(chain.size, expected.length);
    if (i % 50 === 0) assertEquals(chain.values(), expected.map(({ value }) => value));
  }
});
