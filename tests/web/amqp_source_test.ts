import { assertEquals, assertRejects } from "@std/assert";
import { Connector } from "../../src/amqp/connection.ts";
import { parseUrls } from "../../src/amqp/url.ts";
import type { ConnectionInfo } from "../../src/observe/board.ts";
import { Problem } from "../../src/observe/problem.ts";
import { AmqpSource } from "../../src/web/amqp_source.ts";
import { Management } from "../../src/web/management.ts";
import { TestLog } from "../amqp/harness.ts";
import { freePorts } from "../support/ports.ts";
import { waitUntil } from "../support/wait.ts";
import { Paged } from "./paged.ts";

const CLIENT = "asks for all at once";

Deno.test("all that is asked for at once goes over one connection, and leaves none behind", async () => {
  await using paged = await Paged.start();
  const ours = async () => {
    const { connections } = await paged.get<{ connections: ConnectionInfo[] }>("/connections");
    return connections.filter(({ client }) => client.startsWith(CLIENT));
  };
  await using source = new AmqpSource({
    connector: new Connector({
      endpoints: parseUrls(paged.broker.url),
      identity: { name: CLIENT, version: "0" },
      log: new TestLog(),
    }),
    vhost: "/",
    queues: ["mails"],
    delays: [],
    queueType: "classic",
  });
  const askForAll = () =>
    Promise.allSettled([
      source.overview(),
      source.groups({ vhost: "/", name: "mails.dead" }),
      source.purge({ vhost: "/", name: "mails" }),
    ]);
  await askForAll();
  const [first, ...others] = await ours();
  assertEquals(others, []);
  await paged.ask("DELETE", `/api/v1/connections/${first!.id}`);
  await waitUntil("the connection to be closed", async () => (await ours()).length === 0);
  await askForAll();
  assertEquals((await ours()).length, 1);
  const purge = () => source.purge({ vhost: "/", name: "none" });
  assertEquals((await assertRejects(purge, Problem)).status, 404);
});

Deno.test("what the management API tells of queues needs no other connection", async () => {
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    () => Response.json([{ name: "mails", messages_ready: 3 }]),
  );
  const login = { username: "guest", password: "guest" };
  await using source = new AmqpSource({
    connector: new Connector({
      endpoints: parseUrls(`amqp://127.0.0.1:${freePorts(1)[0]}/`),
      identity: { name: CLIENT, version: "0" },
      log: new TestLog(),
    }),
    management: new Management(`http://127.0.0.1:${server.addr.port}`, login),
    vhost: "/",
    queues: [],
    delays: [],
    queueType: "classic",
  });
  assertEquals((await source.queues()).map(({ name, ready }) => [name, ready]), [["mails", 3]]);
});

Deno.test("what is no management API is told as such", async () => {
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    () => new Response("<html>Welcome</html>"),
  );
  const management = new Management(`http://127.0.0.1:${server.addr.port}`, {
    username: "guest",
    password: "guest",
  });
  const refused = await assertRejects(() => management.queues("/"), Problem);
  assertEquals(
    [refused.status, refused.message],
    [503, "the management API must answer with JSON, and does not"],
  );
});

Deno.test("connections keep their number over looks, and those that are gone are forgotten", async () => {
  let names = ["one", "two"];
  const asked: string[] = [];
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    ({ method, url }) => {
      asked.push(`${method} ${new URL(url).pathname}`);
      return Response.json(names.map((name) => ({ name })));
    },
  );
  const management = new Management(`http://127.0.0.1:${server.addr.port}`, {
    username: "guest",
    password: "guest",
  });
  const numbers = async () => (await management.connections()).map(({ id }) => id);
  assertEquals(await numbers(), [1, 2]);
  names = ["two", "three"];
  assertEquals(await numbers(), [2, 3]);
  assertEquals((await assertRejects(() => management.close(1), Problem)).status, 404);
  await management.close(2);
  assertEquals(asked.at(-1), "DELETE /api/connections/two");
});
