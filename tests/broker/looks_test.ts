/** All sockets are looked at, however much some of them have to read. */
import { assert, assertEquals } from "@std/assert";
import { Bell } from "../../src/broker/net/bell.ts";
import { Looks } from "../../src/broker/net/looks.ts";

const LOCAL = "127.0.0.1";

/** What one client has said, and how little of it is read at a time. */
const SAID = 100_000;
const READ = 100;

/** Milliseconds that each read is said to take: a look is due after a few. */
const LONG_MS = 0.1;
const FEW = 10;

/** Reads before another one says something. */
const BUSY = 70;

async function pair(): Promise<{ near: Deno.TcpConn; far: Deno.TcpConn } & Disposable> {
  using listener = Deno.listen({ hostname: LOCAL, port: 0 });
  const [near, far] = await Promise.all([
    Deno.connect({ hostname: LOCAL, port: listener.addr.port }),
    listener.accept(),
  ]);
  return {
    near,
    far,
    [Symbol.dispose]: () => [near, far].forEach((end) => end.close()),
  };
}

Deno.test("who always has something to read keeps nobody else from being heard", async () => {
  using talker = await pair();
  using bystander = await pair();
  const bell = new Bell();
  await bell.heard();
  const looks = new Looks(bell);
  await talker.near.write(new Uint8Array(SAID));
  let reads = 0;
  let heardAfter: number | undefined;
  bystander.far.read(new Uint8Array(1)).then(() => heardAfter = reads - BUSY);
  for (; heardAfter === undefined && reads < SAID / READ; reads++) {
    if (reads === BUSY) bystander.near.write(new Uint8Array(1));
    await talker.far.read(new Uint8Array(READ));
    await looks.beforeRead(LONG_MS);
    // As the end of a turn does.
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert(heardAfter !== undefined && heardAfter <= FEW, `heard after ${heardAfter} reads`);
  bell.close();
});

Deno.test("who reads little waits for no look, and one is asked for at a time", async () => {
  const asked: (() => void)[] = [];
  const looks = new Looks({ isOpen: true, afterSockets: (run) => asked.push(run) });
  assertEquals(looks.beforeRead(0), undefined);
  assertEquals(asked.length, 0);
  assertEquals(looks.beforeRead(0.4), undefined);
  const waiting = [looks.beforeRead(1), looks.beforeRead(0)];
  assertEquals(asked.length, 1);
  assert(waiting.every((each) => each !== undefined));
  asked[0]!();
  await Promise.all(waiting);
  assertEquals(looks.beforeRead(0), undefined);
  assertEquals(asked.length, 1);
});

Deno.test("where only timers tell of a look nobody waits for one", () => {
  const looks = new Looks({ isOpen: false, afterSockets: () => {} });
  for (let n = 0; n < FEW; n++) assertEquals(looks.beforeRead(LONG_MS), undefined);
});
