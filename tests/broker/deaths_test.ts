/** What messages carry of their deaths: how much of it fits into a frame, and where they came round. */
import { assert, assertEquals } from "@std/assert";
import { ContentHeader } from "../../src/broker/message/content_header.ts";
import { cycleOf, fitHeader, recordDeath } from "../../src/broker/message/deaths.ts";
import { ByteWriter } from "../../src/broker/wire/bytes.ts";
import { type Field, tableOf, textOf, writeField } from "../../src/broker/wire/fields.ts";
import { encodeHeader } from "../support/methods.ts";

function header(deaths: unknown, pad = "before"): Uint8Array {
  const headers = { pad, "x-death": deaths, behind: ["an", "array"] };
  return encodeHeader(5, { contentType: "text/plain", headers, messageId: "behind the headers" });
}

function deathsIn(payload: Uint8Array): Field[] {
  const field = new ContentHeader().scan(payload).headers().get("x-death");
  return field?.type === "array" ? field.value : [];
}

const death = (n: number, reason = "expired") => ({ count: n, reason, queue: `q${n}` });

Deno.test("a header is cut to as many of its latest deaths as fit, and keeps all else", () => {
  const deaths = Array.from({ length: 40 }, (_, n) => death(n));
  const lengths = deaths.map((_, n) => header(deaths.slice(0, n + 1)).length);
  for (let most = lengths[0]! - 1; most <= lengths.at(-1)! + 1; most++) {
    const kept = Math.max(1, lengths.filter((length) => length <= most).length);
    assertEquals(fitHeader(header(deaths), most), header(deaths.slice(0, kept)), `${most}`);
  }
});

Deno.test("a header without deaths that could go stays as it is", () => {
  for (const deaths of [[], [death(1)], "no array", null, 7]) {
    const payload = header(deaths, "p".repeat(300));
    assertEquals(fitHeader(payload, 100), payload);
  }
  const bare = encodeHeader(5, { messageId: "m".repeat(200) });
  assertEquals(fitHeader(bare, 100), bare);
});

Deno.test("a header of thousands of deaths is cut", () => {
  const deaths = Array.from({ length: 3_000 }, (_, n) => death(n));
  const fitting = fitHeader(header(deaths), 4_088);
  assert(fitting.length <= 4_088 && fitting.length > 4_000, `${fitting.length}`);
  const queues = deathsIn(fitting).map((entry) => textOf(tableOf(entry)?.get("queue")));
  assertEquals(queues, deaths.slice(0, queues.length).map(({ queue }) => queue));
});

Deno.test("a letter has come round where it died before and nobody rejected it since", () => {
  const deaths = deathsIn(header([
    ...[death(1), death(2, "maxlen"), death(1), death(3, "rejected"), death(4), death(2)],
  ]));
  assertEquals([...cycleOf(deaths)], ["q1", "q2"]);
  assertEquals([...cycleOf(deathsIn(header([death(1, "rejected"), death(2)])))], []);
  assertEquals([...cycleOf(deathsIn(header([death(1), "no table", death(2)])))], ["q1"]);
  assertEquals([...cycleOf([])], []);
});

Deno.test("a death names routing keys, but not thousands of them", () => {
  const named = (routingKeys: string[]) => {
    const death = { queue: "q", reason: "expired", exchange: "", expiration: undefined } as const;
    const [entry] = recordDeath(new Map(), { ...death, routingKeys });
    const keys = tableOf(entry)!.get("routing-keys")!;
    return keys.type === "array" ? keys.value.map(textOf) : undefined;
  };
  const few = Array.from({ length: 16 }, (_, n) => `${n}`.repeat(120));
  assertEquals(named(few), few);
  const many = Array.from({ length: 9_000 }, (_, n) => `${n}`.padStart(8, "0"));
  assertEquals(named(many), many.slice(0, 512));
  // Bytes are what makes it long, not characters.
  const wide = Array.from(
    { length: 100 },
    (_, n) => "\u{1f40c}".repeat(25) + `${n}`.padStart(28, "0"),
  );
  assertEquals(named(wide), wide.slice(0, 32));
});

Deno.test("a header is found among others, and so is a field of a table in an array", () => {
  const scanned = new ContentHeader().scan(header([death(1), "no table", death(22)]));
  assertEquals(textOf(scanned.field("pad")), "before");
  assertEquals(scanned.field("behind")?.type, "array");
  for (const name of ["", "pa", "pads", "queue"]) assertEquals(scanned.field(name), undefined);
  const isThere = (array: string, value: string) => {
    const writer = new ByteWriter();
    writer.shortstr("queue");
    writeField(writer, { type: "longstr", value });
    return scanned.hasInArray(array, writer.copy());
  };
  for (const queue of ["q1", "q22"]) assert(isThere("x-death", queue));
  for (const queue of ["q2", "q", "expired", ""]) assert(!isThere("x-death", queue));
  for (const array of ["pad", "behind", "none"]) assert(!isThere(array, "q1"));
});
