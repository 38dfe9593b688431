import { assertEquals } from "@std/assert";
import { Chain, type Member } from "../../src/worker/chain.ts";
import { Random } from "../support/random.ts";

Deno.test("a chain keeps what was added and not taken out, in order, as an array would", () => {
  const random = new Random(7);
  const chain = new Chain<number>();
  let expected: Member<number>[] = [];
  for (let i = 0; i < 2_000; i++) {
    if (expected.length === 0 || random.below(2) === 0) expected.push(chain.add(i));
    else {
      const member = expected[random.below(expected.length)]!;
      chain.delete(member);
      expected = expected.filter((other) => other !== member);
    }
    assertEquals(chain.size, expected.length);
    if (i % 50 === 0) assertEquals(chain.values(), expected.map(({ value }) => value));
  }
});
