/** Turns of strangers, who may all say something at once. */
import { assert, assertEquals } from "@std/assert";
import { Bell } from "../../src/broker/net/bell.ts";
import { StrangersTurns } from "../../src/broker/net/strangers_turns.ts";

const LOCAL = "127.0.0.1";
const MANY = 500;

Deno.test("of very many at once a few go on, then sockets are looked at, and all have their turn", async () => {
  using listener = Deno.listen({ hostname: LOCAL, port: 0 });
  using near = await Deno.connect({ hostname: LOCAL, port: listener.addr.port });
  using far = await listener.accept();
  const bell = new Bell();
  await bell.heard();
  const turns = new StrangersTurns(bell);
  const order: number[] = [];
  const all = Array.from({ length: MANY }, async (_, n) => {
    await turns.next();
    order.push(n);
  });
  const reading = far.read(new Uint8Array(1)).then(() => order.length);
  await near.write(new Uint8Array(1));
  const before = await reading;
  assert(before < MANY / 2, `${before} went on before`);
  await Promise.all(all);
  assertEquals(order, [...order].sort((one, other) => one - other));
  bell.close();
});

Deno.test("who comes among few has his turn at once, again and again", async () => {
  const bell = new Bell();
  const turns = new StrangersTurns(bell);
  for (let n = 0; n < MANY; n++) {
    assertEquals(turns.next(), undefined);
    await new Promise((resolve) => setImmediate(resolve));
  }
  bell.close();
});
