/** Accepting connections, of which very many may wait. */
import { assert, assertEquals } from "@std/assert";
import { acceptAll } from "../../src/broker/net/accepting.ts";
import { Bell } from "../../src/broker/net/bell.ts";
import { Deadlines } from "../../src/time/deadlines.ts";
import { waitUntil } from "../support/wait.ts";

const LOCAL = "127.0.0.1";
const MANY = 100;

function fail(error: unknown): never {
  throw error;
}

Deno.test("while very many wait to be accepted, others are read", async () => {
  const crowded = Deno.listen({ hostname: LOCAL, port: 0 });
  using listener = Deno.listen({ hostname: LOCAL, port: 0 });
  using near = await Deno.connect({ hostname: LOCAL, port: listener.addr.port });
  using far = await listener.accept();
  const ends: Deno.TcpConn[] = [];
  for (let n = 0; n < MANY; n++) {
    ends.push(await Deno.connect({ hostname: LOCAL, port: crowded.addr.port }));
  }
  const [bell, deadlines] = [new Bell(), new Deadlines(fail)];
  await bell.heard();
  let accepted = 0;
  let before = MANY;
  const reading = far.read(new Uint8Array(1)).then(() => before = accepted);
  const accepting = acceptAll(crowded, deadlines, {
    onConnection(connection) {
      ends.push(connection);
      if (++accepted === 1) near.write(new Uint8Array(1));
    },
    bell,
  });
  await reading;
  await waitUntil("all to be accepted", () => accepted === MANY);
  assert(before < MANY / 2, `${before} were accepted before`);
  crowded.close();
  await accepting;
  assertEquals(accepted, MANY);
  for (const end of ends) end.close();
  bell.close();
  deadlines.stop();
});
