/** The schemas of the API are written by hand: they say what the types of its data say. */
import { assert, assertEquals } from "@std/assert";
import { SCHEMAS } from "../../src/web/schemas.ts";
import { run } from "../support/process.ts";

interface Property {
  readonly name: string;
  readonly optional?: boolean;
  readonly tsType: { readonly repr: string; readonly kind: string };
}

interface Declaration {
  readonly kind: string;
  readonly def: { readonly properties: readonly Property[]; readonly extends?: { repr: string }[] };
}

interface Doc {
  readonly nodes: Readonly<
    Record<string, { symbols: readonly { name: string; declarations: readonly Declaration[] }[] }>
  >;
}

interface Shape {
  readonly required: readonly string[];
  readonly properties: Readonly<Record<string, { type?: string } & Record<string, unknown>>>;
}

/** What the API calls the types, and what is inside of others there. */
const SHAPES: Readonly<Record<string, unknown>> = {
  ...SCHEMAS,
  QueueInfo: SCHEMAS["Queue"],
  MessageDetail: SCHEMAS["Message"],
  ...inner("QueueDetail", { ConsumerInfo: "consumerList" }),
  ...inner("Queue", { Totals: "totals", Rates: "rates" }),
  ...inner("GroupPage", { Group: "groups" }),
  ...inner("MessageInfo", { RunInfo: "running" }),
  ...inner("Connections", { ConnectionInfo: "connections" }),
  ...inner("ChangeEvent", { QueueRef: "gone" }),
};

/** Nobody gets these in an answer. */
const INSIDE = ["ListRequest", "SearchRequest"];

function inner(name: string, members: Record<string, string>): Record<string, unknown> {
  const { properties } = SCHEMAS[name] as unknown as Shape;
  return Object.fromEntries(
    Object.entries(members).map(([type, member]) => {
      const { items, ...own } = properties[member]!;
      return [type, items ?? own];
    }),
  );
}

Deno.test("the schemas of the API have the members of the types, and the same are always there", async () => {
  const { stdout } = await run(Deno.execPath(), {
    args: ["doc", "--json", new URL("../../src/observe/board.ts", import.meta.url).pathname],
  });
  const symbols = Object.values((JSON.parse(stdout) as Doc).nodes).flatMap(({ symbols }) =>
    symbols
  );
  const interfaces = new Map(
    symbols.flatMap(({ name, declarations }) =>
      declarations.filter(({ kind }) => kind === "interface").map(({ def }) => [name, def])
    ),
  );
  function membersOf(name: string): Property[] {
    const { properties, extends: parents = [] } = interfaces.get(name)!;
    return [...parents.flatMap(({ repr }) => membersOf(repr)), ...properties];
  }
  assert(interfaces.size > 10);
  for (const name of interfaces.keys()) {
    if (INSIDE.includes(name)) continue;
    const { required, properties } = SHAPES[name] as Shape;
    const members = membersOf(name);
    assertEquals([name, ...Object.keys(properties).sort()], [
      name,
      ...members.map(({ name }) => name).sort(),
    ]);
    const always = members.filter(({ optional }) => optional !== true).map(({ name }) => name);
    assertEquals([name, ...required.toSorted()], [name, ...always.sort()]);
    for (const { name: member, tsType: { repr, kind } } of members) {
      const told = properties[member]!.type ?? "object";
      const type = kind !== "keyword" ? undefined : repr === "number" ? /integer|number/ : repr;
      if (type !== undefined) assertEquals(told.match(type)?.[0], told, `${name}.${member}`);
    }
  }
});
