import { assertEquals } from "@std/assert";
import type { PeerChannel } from "../support/protocol_peer.ts";
import { Typed } from "../support/wire.ts";
import { contract } from "./contract.ts";

async function received(
  channel: PeerChannel,
  exchange: string,
  queue: string,
  messages: readonly { routingKey?: string; headers?: Record<string, unknown> }[],
  drain: (channel: PeerChannel, queue: string) => Promise<string[]>,
): Promise<string[]> {
  for (const [i, { routingKey = "", headers }] of messages.entries()) {
    await channel.publish(
      { exchange, routingKey },
      routingKey || `${i}`,
      headers ? { headers } : {},
    );
  }
  return await drain(channel, queue);
}

contract(
  "A direct exchange routes by equal key, once per queue however many bindings match",
  async (t) => {
    const channel = await t.channel();
    const exchange = await t.exchange(channel, "direct");
    const [one, two] = [await t.queue(channel), await t.queue(channel)];
    for (const queue of [one, two]) {
      await channel.call("queue.bind", {
        queue,
        exchange,
        routingKey: "k",
      });
    }
    await channel.call("queue.bind", {
      queue: one,
      exchange,
      routingKey: "k",
      arguments: { again: 1 },
    });
    await channel.call("queue.bind", { queue: one, exchange, routingKey: "" });
    assertEquals(
      await received(channel, exchange, one, [{ routingKey: "k" }, { routingKey: "K" }, {
        routingKey: "",
      }], t.drain),
      ["k", "2"],
    );
    assertEquals(await t.drain(channel, two), ["k"]);
  },
);

contract("A fanout exchange routes everything to every queue", async (t) => {
  const channel = await t.channel();
  const exchange = await t.exchange(channel, "fanout");
  const queue = await t.queue(channel);
  await channel.call("queue.bind", { queue, exchange, routingKey: "ignored" });
  assertEquals(
    await received(channel, exchange, queue, [{ routingKey: "a" }, { routingKey: "b" }], t.drain),
    ["a", "b"],
  );
});

for (
  const [pattern, matches] of [
    ["a.b", ["a.b"]],
    ["a.*", ["a.b", "a.c", "a."]],
    ["*.b", ["a.b", ".b"]],
    ["a.#", ["a", "a.b", "a.c", "a.", "a.b.c"]],
    ["#.c", ["a.c", "c", "a.b.c"]],
    ["#", ["a", "a.b", "a.c", "a.", ".b", "c", "a.b.c", "0"]],
    ["*", ["a", "c"]],
    ["a.#.c", ["a.c", "a.b.c"]],
    ["*.#.*", ["a.b", "a.c", "a.", ".b", "a.b.c"]],
    ["#.#.b.#", ["a.b", ".b", "a.b.c"]],
    ["a.**", []],
    ["", ["0"]],
  ] as const
) {
  contract(
    `A topic exchange's '${pattern}' matches ${matches.join(" ") || "nothing"}`,
    async (t) => {
      const channel = await t.channel();
      const exchange = await t.exchange(channel, "topic");
      const queue = await t.queue(channel);
      await channel.call("queue.bind", { queue, exchange, routingKey: pattern });
      const keys = ["a", "a.b", "a.c", "a.", ".b", "c", "a.b.c"].map((routingKey) => ({
        routingKey,
      }));
      const bodies = [];
      for (const key of keys) {
        await channel.publish({ exchange, ...key }, key.routingKey);
        bodies.push(...await t.drain(channel, queue));
      }
      await channel.publish({ exchange, routingKey: "" }, "0");
      bodies.push(...await t.drain(channel, queue));
      assertEquals(bodies, [...matches]);
    },
  );
}

for (
  const [match, bound, hits] of [
    ["all", { a: 1, b: "x" }, [true, false, false, true]],
    ["any", { a: 1, b: "x" }, [true, true, false, true]],
    [undefined, { a: 1, b: "x" }, [true, false, false, true]],
    ["all", { a: null }, [true, true, true, true]],
    ["all", { "x-ignored": 1, a: 1 }, [true, true, false, true]],
    ["all-with-x", { "x-counted": 1, a: 1 }, [false, false, false, true]],
    ["any-with-x", { "x-counted": 1 }, [false, false, false, true]],
  ] as const
) {
  contract(
    `A headers exchange with x-match ${match} and ${JSON.stringify(bound)} routes by header`,
    async (t) => {
      const channel = await t.channel();
      const exchange = await t.exchange(channel, "headers");
      const queue = await t.queue(channel);
      await channel.call("queue.bind", {
        queue,
        exchange,
        arguments: { ...(match ? { "x-match": match } : {}), ...bound },
      });
      const published = [{ a: 1, b: "x" }, { a: 1 }, { a: 2 }, {
        a: 1,
        b: "x",
        c: 0,
        "x-counted": 1,
      }];
      const bodies = await received(
        channel,
        exchange,
        queue,
        published.map((headers) => ({ headers })),
        t.drain,
      );
      assertEquals(bodies, hits.flatMap((hit, i) => hit ? [`${i}`] : []));
    },
  );
}

contract("A headers binding with another x-match is refused with 406", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await channel.send("queue.bind", {
    queue,
    exchange: "amq.headers",
    arguments: { "x-match": "most" },
  });
  await channel.expectClose(406, /^PRECONDITION_FAILED - Invalid x-match field value/);
});

contract("Exchanges bind to exchanges, in chains and circles, and unbind", async (t) => {
  const channel = await t.channel();
  const [a, b, c] = [
    await t.exchange(channel, "topic"),
    await t.exchange(channel, "direct"),
    await t.exchange(channel, "fanout"),
  ];
  const queue = await t.queue(channel);
  await channel.call("exchange.bind", { source: a, destination: b, routingKey: "k.#" });
  await channel.call("exchange.bind", { source: b, destination: c, routingKey: "k.1" });
  await channel.call("exchange.bind", { source: c, destination: a }); // a circle
  await channel.call("queue.bind", { queue, exchange: c });
  await channel.call("queue.bind", { queue, exchange: a, routingKey: "#" });
  assertEquals(
    await received(channel, a, queue, [{ routingKey: "k.1" }, { routingKey: "z" }], t.drain),
    ["k.1", "z"],
  );
  await channel.call("exchange.unbind", { source: a, destination: b, routingKey: "k.#" });
  await channel.call("queue.unbind", { queue, exchange: a, routingKey: "#" });
  assertEquals(await received(channel, a, queue, [{ routingKey: "k.1" }], t.drain), []);
});

contract("A headers exchange compares numbers by value and texts by octets", async (t) => {
  const channel = await t.channel();
  const exchange = await t.exchange(channel, "headers");
  const queue = await t.queue(channel);
  const bound = { number: 1, text: "a" };
  await channel.call("queue.bind", {
    queue,
    exchange,
    arguments: { "x-match": "any", ...bound },
  });
  const octets = new TextEncoder().encode("a");
  const values = {
    same: { number: new Typed("l", 1n) },
    double: { number: new Typed("d", 1) },
    time: { number: new Typed("T", 1n) },
    octets: { text: new Typed("x", octets) },
    "other number": { number: 2 },
    "text for number": { number: "1" },
    "number for text": { text: 1 },
  };
  for (const [body, headers] of Object.entries(values)) {
    await channel.publish({ exchange }, body, { headers });
  }
  assertEquals(await t.drain(channel, queue), ["same", "double", "time", "octets"]);
});

contract("A headers exchange tells numbers of 64 bits apart by their last bit", async (t) => {
  const channel = await t.channel();
  const exchange = await t.exchange(channel, "headers");
  const queue = await t.queue(channel);
  const id = 2n ** 53n;
  for (const odd of [id + 1n, -id - 1n]) {
    await channel.call("queue.bind", { queue, exchange, arguments: { "x-match": "all", id: odd } });
  }
  const values = {
    same: new Typed("l", id + 1n),
    negative: new Typed("l", -id - 1n),
    time: new Typed("T", id + 1n),
    "one less": new Typed("l", id),
    "one more": new Typed("l", id + 2n),
    "double that is one less": new Typed("d", Number(id)),
  };
  for (const [body, value] of Object.entries(values)) {
    await channel.publish({ exchange }, body, { headers: { id: value } });
  }
  assertEquals(await t.drain(channel, queue), ["same", "negative", "time"]);
});

contract("A headers exchange compares tables, arrays and truth as they were written", async (t) => {
  const channel = await t.channel();
  const exchange = await t.exchange(channel, "headers");
  const queue = await t.queue(channel);
  for (const wanted of [{ t: { a: 1, b: "x" } }, { l: [1, "x", [true]] }, { y: true }]) {
    await channel.call("queue.bind", { queue, exchange, arguments: wanted });
  }
  const values = {
    table: { t: { a: 1, b: "x" } },
    "part of a table": { t: { a: 1 } },
    array: { l: [1, "x", [true]] },
    "another order": { l: ["x", 1, [true]] },
    "another depth": { l: [1, "x", true] },
    yes: { y: true },
    no: { y: false },
    "a text": { y: "true" },
    "a number": { y: 1 },
    nothing: { y: null },
  };
  for (const [body, headers] of Object.entries(values)) {
    await channel.publish({ exchange }, body, { headers });
  }
  assertEquals(await t.drain(channel, queue), ["table", "array", "yes"]);
});

contract("Bindings of a headers exchange that want the same go one by one", async (t) => {
  const channel = await t.channel();
  const exchange = await t.exchange(channel, "headers");
  const all: [wanted: Record<string, unknown>, bodies: string][] = [
    [{ a: 1 }, "a aa ab"],
    [{ a: null }, "a aa ab other"],
    [{ "x-match": "any", a: 1, b: 1 }, "a aa ab b"],
    [{ a: 1, b: 1 }, "ab"],
    [{ a: 1, b: null }, "ab"],
    [{ "x-match": "any", a: 1, b: null }, "a aa ab b"],
    [{}, "a aa ab b other none"],
    [{ "x-match": "any" }, ""],
    [{ "x-a": 1 }, "a aa ab b other none"],
  ];
  const bindings = [];
  for (const [wanted, bodies] of all) {
    bindings.push({ queue: await t.queue(channel), arguments: wanted, bodies });
  }
  for (const { queue, arguments: wanted } of bindings) {
    await channel.call("queue.bind", { queue, exchange, arguments: wanted });
  }
  const publish = async () => {
    const published = { a: { a: 1 }, aa: { a: 1, c: 1 }, ab: { a: 1, b: 1 }, b: { b: 1 } };
    for (const [body, headers] of Object.entries({ ...published, other: { a: 2 }, none: {} })) {
      await channel.publish({ exchange }, body, { headers });
    }
  };
  while (bindings.length > 0) {
    await publish();
    for (const { queue, arguments: wanted, bodies } of bindings) {
      assertEquals((await t.drain(channel, queue)).join(" "), bodies, JSON.stringify(wanted));
    }
    const { queue, arguments: wanted } = bindings.shift()!;
    await channel.call("queue.unbind", { queue, exchange, arguments: wanted });
  }
});

contract("Several # in a topic pattern match wherever their words come in order", async (t) => {
  const rows: [pattern: string, matching: string][] = [
    ["#.a.#.b.#", "a.b x.a.x.y.b a.b.a a.a.b.b a.x.b x.a.a.b a.b.a.b"],
    ["#.a.*.b", "a.a.b.b a.x.b x.a.a.b"],
    ["a.#.#.b", "a.b a.a.b.b a.x.b a.b.a.b"],
    ["#.*.#", "a.b x.a.x.y.b a.b.a a.a.b.b a.x.b x.a.a.b a.b.a.b a b.a"],
    ["*.#.*", "a.b x.a.x.y.b a.b.a a.a.b.b a.x.b x.a.a.b a.b.a.b b.a"],
    ["#.b.#.a", "a.b.a b.a"],
  ];
  const keys = "a.b x.a.x.y.b a.b.a a.a.b.b a.x.b x.a.a.b a.b.a.b a b.a".split(" ");
  const channel = await t.channel();
  const exchange = await t.exchange(channel, "topic");
  for (const [routingKey, matching] of rows) {
    const queue = await t.queue(channel);
    await channel.call("queue.bind", { queue, exchange, routingKey });
    for (const key of [...keys, ""]) {
      await t.publish(channel, { exchange, routingKey: key }, { body: key });
    }
    assertEquals((await t.drain(channel, queue)).join(" "), matching, routingKey);
    await channel.call("queue.unbind", { queue, exchange, routingKey });
  }
});
