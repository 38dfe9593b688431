import { assertEquals } from "@std/assert";
import { contract } from "./contract.ts";

for (const type of ["direct", "fanout", "topic", "headers"]) {
  contract(`amq.${type} is there${type === "headers" ? ", and amq.match" : ""}`, async (t) => {
    const channel = await t.channel();
    for (const exchange of [`amq.${type}`, ...(type === "headers" ? ["amq.match"] : [])]) {
      await channel.call("exchange.declare", { exchange, type, passive: true });
      await channel.call("exchange.declare", { exchange, type, durable: true });
    }
  });

  contract(`An exchange of type ${type} can be declared, found, and deleted`, async (t) => {
    const channel = await t.channel();
    const exchange = await t.exchange(channel, type);
    await channel.call("exchange.declare", { exchange, type, durable: true });
    await channel.call("exchange.declare", { exchange, passive: true });
    await channel.call("exchange.delete", { exchange });
    await channel.call("exchange.delete", { exchange }); // gone already: the same answer
    await channel.send("exchange.declare", { exchange, passive: true });
    await channel.expectClose(404, `NOT_FOUND - no exchange '${exchange}' in vhost '/'`);
  });
}

for (
  const [field, received, current] of [
    ["type", { type: "fanout" }, "received 'fanout' but current is 'direct'"],
    ["durable", { durable: false }, "received 'false' but current is 'true'"],
    ["auto_delete", { autoDelete: true }, "received 'true' but current is 'false'"],
    ["internal", { internal: true }, "received 'true' but current is 'false'"],
  ] as const
) {
  contract(`Declaring an exchange again with another ${field} is 406`, async (t) => {
    const channel = await t.channel();
    const exchange = await t.exchange(channel, "direct");
    await channel.send("exchange.declare", {
      exchange,
      type: "direct",
      durable: true,
      ...received,
    });
    await channel.expectClose(
      406,
      `PRECONDITION_FAILED - inequivalent arg '${field}' for exchange '${exchange}' in vhost '/': ${current}`,
    );
  });
}

contract("Declaring an exchange again with another alternate-exchange is 406", async (t) => {
  const channel = await t.channel();
  const exchange = await t.exchange(channel, "direct", { "alternate-exchange": "a" });
  await channel.send("exchange.declare", {
    exchange,
    type: "direct",
    durable: true,
    arguments: { "alternate-exchange": "b" },
  });
  await channel.expectClose(
    406,
    `PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange '${exchange}' in vhost '/': received 'b' but current is 'a'`,
  );
});

for (
  const [type, adjective] of [
    ["no-such-type", "unknown"],
    ["invalid_exchange_type", "unknown"],
    ["none", "invalid"],
    ["", "invalid"],
  ] as const
) {
  contract(
    `An exchange of type '${type}' is refused (RabbitMQ 3.10: connection 503, 4.x: channel 406)`,
    async (t) => {
      const channel = await t.channel();
      await channel.send("exchange.declare", { exchange: t.name(), type });
      await channel.peer.channel(0).expectClose(
        503,
        `COMMAND_INVALID - ${adjective} exchange type '${type}'`,
      );
    },
  );
}

for (const name of ["amq.mine", "amq."]) {
  contract(`Declaring an exchange named ${name} is 403`, async (t) => {
    const channel = await t.channel();
    await channel.send("exchange.declare", { exchange: name, type: "direct" });
    await channel.expectClose(
      403,
      `ACCESS_REFUSED - exchange name '${name}' contains reserved prefix 'amq.*'`,
    );
  });
}

contract(
  "The predeclared exchanges cannot be deleted, nor the default exchange declared, deleted or bound",
  async (t) => {
    const peer = await t.peer();
    const onDefault = "ACCESS_REFUSED - operation not permitted on the default exchange";
    const refused: [string, Record<string, unknown>, string][] = [
      [
        "exchange.delete",
        { exchange: "amq.direct" },
        "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed",
      ],
      ["exchange.delete", { exchange: "" }, onDefault],
      ["exchange.declare", { exchange: "", type: "direct" }, onDefault],
      ["exchange.declare", { exchange: "", type: "direct", passive: true }, onDefault],
      ["queue.bind", { queue: "any", exchange: "" }, onDefault],
      ["queue.unbind", { queue: "any", exchange: "" }, onDefault],
      ["exchange.bind", { source: "", destination: "amq.fanout" }, onDefault],
      ["exchange.bind", { source: "amq.fanout", destination: "" }, onDefault],
      ["exchange.unbind", { source: "", destination: "amq.fanout" }, onDefault],
    ];
    for (const [method, args, text] of refused) {
      const channel = await peer.open(1);
      await channel.send(method, args);
      await channel.expectClose(403, text);
    }
  },
);

contract("if-unused keeps an exchange that has bindings", async (t) => {
  const peer = await t.peer();
  const channel = await peer.open(1);
  const exchange = await t.exchange(channel, "direct");
  const queue = await t.queue(channel);
  await channel.call("queue.bind", { queue, exchange });
  await channel.send("exchange.delete", { exchange, ifUnused: true });
  await channel.expectClose(
    406,
    `PRECONDITION_FAILED - exchange '${exchange}' in vhost '/' in use`,
  );
  await peer.open(1);
  await channel.call("queue.unbind", { queue, exchange });
  await channel.call("exchange.delete", { exchange, ifUnused: true });
});

contract("An auto-delete exchange goes with its last binding, not before its first", async (t) => {
  const channel = await t.channel();
  const exchange = await t.exchange(channel, "direct", {}, { autoDelete: true });
  const queue = await t.queue(channel);
  await channel.call("queue.bind", { queue, exchange, routingKey: "a" });
  await channel.call("queue.bind", { queue, exchange, routingKey: "b" });
  await channel.call("queue.unbind", { queue, exchange, routingKey: "a" });
  await channel.call("exchange.declare", { exchange, passive: true });
  await channel.call("queue.unbind", { queue, exchange, routingKey: "b" });
  await channel.send("exchange.declare", { exchange, passive: true });
  await channel.expectClose(404, /no exchange/);
});

contract(
  "Deleting a queue deletes its bindings, and with the last one an auto-delete exchange",
  async (t) => {
    const channel = await t.channel();
    const exchange = await t.exchange(channel, "fanout", {}, { autoDelete: true });
    const queue = await t.queue(channel);
    await channel.call("queue.bind", { queue, exchange });
    await channel.call("queue.delete", { queue });
    await channel.send("exchange.declare", { exchange, passive: true });
    await channel.expectClose(404, /no exchange/);
  },
);

contract(
  "Publishing to an internal exchange is 403; messages reach it through a binding",
  async (t) => {
    const peer = await t.peer();
    const channel = await peer.open(1);
    const internal = await t.exchange(channel, "fanout", {}, { internal: true });
    const entry = await t.exchange(channel, "fanout");
    const queue = await t.queue(channel);
    await channel.call("queue.bind", { queue, exchange: internal });
    await channel.call("exchange.bind", { source: entry, destination: internal });
    await t.publish(channel, { exchange: entry }, { body: "through" });
    assertEquals(await t.drain(channel, queue), ["through"]);
    await channel.publish({ exchange: internal }, "straight");
    await channel.expectClose(
      403,
      `ACCESS_REFUSED - cannot publish to internal exchange '${internal}' in vhost '/'`,
    );
  },
);

for (const type of ["fanout", "headers"]) {
  contract(
    `Who has published to a ${type} exchange is told when it goes, or is another`,
    async (t) => {
      const peer = await t.peer();
      const admin = await peer.open(1);
      const exchange = await t.exchange(admin, type);
      const queue = await t.queue(admin);
      await admin.call("queue.bind", { queue, exchange });
      const [first, second] = [await peer.open(2), await peer.open(3)];
      for (const channel of [first, second]) {
        await channel.call("confirm.select");
        for (const body of ["a", "b"]) {
          await channel.publish({ exchange }, body);
          await channel.expect("basic.ack");
        }
      }
      await admin.call("exchange.delete", { exchange });
      await first.publish({ exchange }, "c");
      await first.expectClose(404, `NOT_FOUND - no exchange '${exchange}' in vhost '/'`);
      const declared = { exchange, type, durable: true, internal: true };
      await admin.call("exchange.declare", declared);
      await second.publish({ exchange }, "d");
      await second.expectClose(403, /^ACCESS_REFUSED - cannot publish to internal exchange/);
      assertEquals(await t.drain(admin, queue), ["a", "b", "a", "b"]);
    },
  );
}

contract("What an exchange cannot route goes to its alternate-exchange", async (t) => {
  const channel = await t.channel();
  const [rest, main, other] = [t.name("x"), t.name("x"), t.name("x")];
  await channel.call("exchange.declare", { exchange: rest, type: "fanout" });
  await channel.call("exchange.declare", {
    exchange: other,
    type: "direct",
    arguments: { "alternate-exchange": rest },
  });
  await channel.call("exchange.declare", {
    exchange: main,
    type: "direct",
    arguments: { "alternate-exchange": other },
  });
  const [known, unknown] = [await t.queue(channel), await t.queue(channel)];
  await channel.call("queue.bind", { queue: known, exchange: main, routingKey: "k" });
  await channel.call("queue.bind", { queue: unknown, exchange: rest });
  await t.publish(channel, { exchange: main, routingKey: "k", mandatory: true }, { body: "a" });
  await t.publish(channel, { exchange: main, routingKey: "u", mandatory: true }, { body: "b" });
  assertEquals(await t.drain(channel, known), ["a"]);
  assertEquals(await t.drain(channel, unknown), ["b"]);
});

contract(
  "A missing alternate-exchange drops what cannot be routed, and mandatory returns it",
  async (t) => {
    const channel = await t.channel();
    const exchange = await t.exchange(channel, "direct", { "alternate-exchange": t.name() });
    await channel.publish({ exchange, routingKey: "u", mandatory: true }, "x");
    assertEquals((await channel.expectContent("basic.return")).args.replyCode, 312);
  },
);

for (
  const [method, args, what] of [
    ["queue.bind", { queue: "QUEUE", exchange: "gone.x" }, "exchange 'gone.x'"],
    ["queue.bind", { queue: "gone.q", exchange: "amq.direct" }, "queue 'gone.q'"],
    ["exchange.bind", { source: "gone.x", destination: "amq.direct" }, "exchange 'gone.x'"],
    ["exchange.bind", { source: "amq.direct", destination: "gone.x" }, "exchange 'gone.x'"],
  ] as const
) {
  contract(`${method} with no ${what} is 404`, async (t) => {
    const channel = await t.channel();
    const queue = await t.queue(channel);
    await channel.send(method, {
      ...args,
      ...("queue" in args && args.queue === "QUEUE" ? { queue } : {}),
    });
    await channel.expectClose(404, `NOT_FOUND - no ${what} in vhost '/'`);
  });
}

contract("Unbinding what is not bound is answered", async (t) => {
  const channel = await t.channel();
  const queue = await t.queue(channel);
  await channel.call("queue.unbind", { queue, exchange: "amq.direct", routingKey: "never" });
  await channel.call("exchange.unbind", {
    source: "amq.direct",
    destination: "amq.fanout",
    routingKey: "never",
  });
});

contract("Deleting an exchange deletes its bindings on both sides", async (t) => {
  const channel = await t.channel();
  const exchange = await t.exchange(channel, "fanout");
  const target = await t.exchange(channel, "fanout");
  const queue = await t.queue(channel);
  await channel.call("exchange.bind", { source: exchange, destination: target });
  await channel.call("queue.bind", { queue, exchange: target });
  await channel.call("exchange.delete", { exchange: target });
  await channel.call("exchange.declare", { exchange: target, type: "fanout", durable: true });
  await channel.call("queue.bind", { queue, exchange: target });
  await channel.publish({ exchange });
  assertEquals(await t.drain(channel, queue), []);
});

contract("no-wait declares, binds and deletes without an answer", async (t) => {
  const channel = await t.channel();
  const [exchange, queue] = [t.name("x"), t.name()];
  await channel.send("exchange.declare", { exchange, type: "fanout", noWait: true });
  await channel.send("queue.declare", { queue, noWait: true });
  await channel.send("queue.bind", { queue, exchange, noWait: true });
  await channel.publish({ exchange }, "a");
  assertEquals(await t.drain(channel, queue), ["a"]);
  await channel.send("queue.purge", { queue, noWait: true });
  await channel.send("queue.delete", { queue, noWait: true });
  await channel.send("exchange.delete", { exchange, noWait: true });
  await channel.send("exchange.declare", { exchange, passive: true });
  await channel.expectClose(404, /no exchange/);
});

contract("Another's exclusive queue cannot be unbound, but what is not bound can", async (t) => {
  const owner = await t.channel();
  const { queue } = await owner.call("queue.declare", { exclusive: true });
  await owner.call("queue.bind", { queue, exchange: "amq.direct", routingKey: queue });
  const other = await t.channel();
  await other.call("queue.unbind", { queue, exchange: "amq.direct", routingKey: "not bound" });
  await other.send("queue.unbind", { queue, exchange: "amq.direct", routingKey: queue });
  await other.expectClose(405, /^RESOURCE_LOCKED - cannot obtain exclusive access/);
});
