import { assertEquals } from "@std/assert";
import { readSlots } from "../../src/front/cron.ts";
import { readSchedule } from "../../src/front/schedule.ts";

const time = (text: string) => Date.parse(`2026-${text}Z`);

function times(cron: string, from: string, count: number, timezone = "Europe/Berlin"): string[] {
  const slots = readSlots({ cron, timezone }, time(from));
  const found: string[] = [];
  for (let at = time(from); found.length < count;) {
    at = slots.next(at)!;
    found.push(new Date(at).toISOString().slice(5, 16));
  }
  return found;
}

Deno.test("where the clock changes the slots are those that the help tells", () => {
  // 02:00 is 03:00 on March 29, at 01:00 UTC; 03:00 is 02:00 on October 25, at 01:00 UTC.
  const spring = "03-28T23:20";
  assertEquals(times("30 2 * * *", spring, 2), ["03-29T01:00", "03-30T00:30"]);
  assertEquals(times("0,30 2 * * *", spring, 1), ["03-30T00:00"]);
  assertEquals(times("30 * * * *", spring, 3), ["03-28T23:30", "03-29T00:30", "03-29T01:30"]);
  const autumn = "10-24T23:20";
  assertEquals(times("30 2 * * *", autumn, 2), ["10-25T00:30", "10-26T01:30"]);
  assertEquals(times("0,30 2 * * *", autumn, 4), [
    "10-25T00:00",
    "10-25T00:30",
    "10-25T01:00",
    "10-25T01:30",
  ]);
  assertEquals(times("30 * * * *", autumn, 3), ["10-24T23:30", "10-25T00:30", "10-25T01:30"]);
});

Deno.test("a time that the clock jumps over is the moment of the change, also into the next day", () => {
  // 23:00 is 00:00 on March 28, at 01:00 UTC of the 29th; 00:00 is 23:00 on October 24.
  const spring = (cron: string) => times(cron, "03-27T12:00", 3, "America/Nuuk");
  assertEquals(spring("30 23 * * *"), ["03-28T01:30", "03-29T01:00", "03-30T00:30"]);
  assertEquals(spring("0 23 * * *"), ["03-28T01:00", "03-29T01:00", "03-30T00:00"]);
  assertEquals(spring("0 0 * * *"), ["03-28T02:00", "03-29T01:00", "03-30T01:00"]);
  assertEquals(spring("59 22 * * *"), ["03-28T00:59", "03-29T00:59", "03-29T23:59"]);
  assertEquals(spring("30 23 * * 6").slice(0, 2), ["03-29T01:00", "04-05T00:30"]);
  assertEquals(spring("30 23 28 3 *").slice(0, 1), ["03-29T01:00"]);
  assertEquals(spring("30 23 * * 0").slice(0, 1), ["03-30T00:30"]);
  assertEquals(spring("0,30 23 * * *"), ["03-28T01:00", "03-28T01:30", "03-30T00:00"]);
  const autumn = times("30 23 * * *", "10-24T12:00", 3, "America/Nuuk");
  assertEquals(autumn, ["10-25T00:30", "10-26T01:30", "10-27T01:30"]);
  const slots = readSlots({ cron: "30 23 * * *", timezone: "America/Nuuk" }, time("03-01T00:00"));
  assertEquals(slots.last(time("03-20T00:00"), time("03-29T20:00")), time("03-29T01:00"));
  // Within the day, at midnight: 00:00 is 01:00 on April 24, at 22:00 UTC of the 23rd.
  const cairo = times("30 0 * * *", "04-22T12:00", 3, "Africa/Cairo");
  assertEquals(cairo, ["04-22T22:30", "04-23T22:00", "04-24T21:30"]);
});

Deno.test("with a day and a weekday it is time on either", () => {
  assertEquals(times("0 12 13 * 5", "02-10T00:00", 3), [
    "02-13T11:00",
    "02-20T11:00",
    "02-27T11:00",
  ]);
  assertEquals(times("0 12 13 * 5", "04-11T00:00", 2), ["04-13T10:00", "04-17T10:00"]);
});

Deno.test("the last slot is the one that going forward ends with", () => {
  for (const cron of ["30 2 * * *", "0,30 2 * * *", "*/15 * * * *", "0 0 1 * *"]) {
    const slots = readSlots({ cron, timezone: "Europe/Berlin" }, time("01-01T00:00"));
    for (
      const until of ["03-29T00:59", "03-29T01:00", "03-29T02:10", "10-25T00:45", "10-25T01:31"]
    ) {
      // Not too many of them, and one of a month.
      const from = cron === "0 0 1 * *" ? time("01-20T00:00") : time(until) - 2 * 86_400_000;
      let expected: number | undefined;
      for (let at = from;; at = expected) {
        const next = slots.next(at)!;
        if (next > time(until)) break;
        expected = next;
      }
      assertEquals(slots.last(from, time(until)), expected, `${cron} ${until}`);
      assertEquals(slots.last(time(until), time(until)), undefined);
    }
  }
});

Deno.test("a second is a number or a field, and the same schedule either way", async () => {
  const [number, text] = await Promise.all(
    [30, "30"].map((second) =>
      readSchedule(
        { cron: "* * * * *", second, body: "a" },
        { queue: { name: "q", type: "quorum", strict: false, create: true } },
        time("01-01"),
      )
    ),
  );
  assertEquals(number!.key, text!.key);
  assertEquals(number!.slots.next(time("01-01T00:00")), time("01-01T00:00:30"));
});
