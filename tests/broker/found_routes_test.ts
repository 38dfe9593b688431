/** What is remembered of routes: no more than is useful, and nothing that has changed. */
import { assertEquals, assertNotEquals } from "@std/assert";
import { Exchange } from "../../src/broker/routing/exchange.ts";
import { FoundRoutes } from "../../src/broker/routing/found_routes.ts";
import type { Queue } from "../../src/broker/queue/queue.ts";

const exchange = new Exchange({
  vhost: "/",
  name: "logs",
  type: "fanout",
  durable: true,
  autoDelete: false,
  internal: false,
  table: new Map(),
});

function queues(count: number): Queue[] {
  return new Array<Queue>(count);
}

Deno.test("a place is taken again by its channel, and its route is forgotten", () => {
  const found = new FoundRoutes();
  const place = found.add(exchange, undefined);
  const route = queues(1);
  found.complete(place, route);
  assertEquals(found.at(place), { exchange, route });
  assertEquals(found.add(exchange, place), place);
  assertEquals(found.at(place).route, undefined);
  assertEquals(found.version, 0);
});

Deno.test("beyond the most places, or queues in routes, all is looked for again", () => {
  const found = new FoundRoutes();
  for (let count = 0; count < 4_096; count++) found.add(exchange, undefined);
  assertEquals(found.version, 0);
  assertEquals(found.add(exchange, undefined), 0);
  assertEquals(found.version, 1);
  // The same place over and over is never too much.
  for (let count = 0; count < 100; count++) found.complete(found.add(exchange, 0), queues(60_000));
  assertEquals(found.version, 1);
  found.complete(found.add(exchange, undefined), queues(60_000));
  assertNotEquals(found.version, 1);
});
