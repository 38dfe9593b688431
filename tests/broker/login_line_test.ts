import { assertEquals, assertRejects } from "@std/assert";
import { CrowdedError, LoginLine, type Owner } from "../../src/broker/connection/login_line.ts";

/** Work whose end a test decides, and the order in which it started. */
class Work {
  readonly order: string[] = [];
  readonly #line: LoginLine;
  readonly #gate = Promise.withResolvers<void>();

  constructor(width: number, most: number) {
    this.#line = new LoginLine(width, most);
  }

  add(name: string, owner: Partial<Owner> = {}): Promise<string> {
    const whole = { subject: "s", asker: "a", rank: 1, ...owner };
    const done = this.#line.add(whole, async () => {
      this.order.push(name);
      await this.#gate.promise;
      return name;
    });
    done.catch(() => {}); // looked at later
    return done;
  }

  go(): void {
    this.#gate.resolve();
  }
}

Deno.test("whoever has much work does not make others wait for all of it", async () => {
  const work = new Work(1, 100);
  const a = ["a1", "a2", "a3", "a4"].map((name) => work.add(name, { asker: "a" }));
  const b = ["b1", "b2"].map((name) => work.add(name, { asker: "b" }));
  const other = work.add("t1", { subject: "t", asker: "a" });
  work.go();
  await Promise.all([...a, ...b, other]);
  assertEquals(work.order, ["a1", "a2", "t1", "b1", "a3", "b2", "a4"]);
  assertEquals(await work.add("a5"), "a5");
});

Deno.test("several pieces of work are done at a time, the others wait", async () => {
  const work = new Work(2, 100);
  const all = ["1", "2", "3"].map((name) => work.add(name));
  assertEquals(work.order, ["1", "2"]);
  work.go();
  assertEquals(await Promise.all(all), ["1", "2", "3"]);
});

Deno.test("those of a higher rank go first, and crowds are refused first", async () => {
  const work = new Work(1, 3);
  const running = work.add("running");
  const crowd = ["1", "2", "3"].map((n) => work.add(n, { asker: `x${n}`, rank: 0 }));
  const trusted = work.add("trusted", { asker: "y" });
  const elsewhere = work.add("elsewhere", { subject: "t", asker: "z", rank: 0 });
  await assertRejects(() => crowd[2]!, CrowdedError);
  await assertRejects(() => crowd[1]!, CrowdedError);
  work.go();
  await Promise.all([running, crowd[0], trusted, elsewhere]);
  assertEquals(work.order, ["running", "trusted", "elsewhere", "1"]);
});

Deno.test("work that fails fails for its owner only", async () => {
  const line = new LoginLine(1, 10);
  const owner = { subject: "s", asker: "a", rank: 1 };
  const failing = line.add(owner, () => Promise.reject(new Error("no")));
  const next = line.add(owner, () => Promise.resolve(1));
  await assertRejects(() => failing, Error, "no");
  assertEquals(await next, 1);
});
