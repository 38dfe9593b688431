/**
 * The scenario of clients_test.ts with rabbitmq-client, which reconnects by itself.
 * Usage: rabbitmq_client.js URL PREFIX
 */
import process from "node:process";
import { Connection, ConsumerStatus } from "rabbitmq-client";

const [url, prefix] = process.argv.slice(2);
const [work, dead] = [`${prefix}.work`, `${prefix}.dead`];

function say(line) {
  process.stdout.write(`${line}\n`);
}

async function publish(publisher, routingKey, body) {
  await publisher.send({ routingKey, durable: true, mandatory: true }, body);
}

async function deliveries(queue, count, handle) {
  const all = Promise.withResolvers();
  const options = { queue, queueOptions: { passive: true }, qos: { prefetchCount: 1 } };
  const consumer = connection.createConsumer(options, (message) => {
    const status = handle(message, message.body.toString());
    if (--count === 0) all.resolve();
    return status;
  });
  consumer.on("error", () => {}); // it retries
  await all.promise;
  await consumer.close();
}

const connection = new Connection({ url, retryLow: 100, retryHigh: 200 });
const closed = Promise.withResolvers();
connection.on("error", () => closed.resolve()); // it retries
await connection.queueDeclare({ queue: dead, durable: true });
await connection.queueDeclare({
  queue: work,
  durable: true,
  arguments: { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead },
});
const publisher = connection.createPublisher({ confirm: true, maxAttempts: 20 });
for (const body of ["one", "two", "three"]) await publish(publisher, work, body);
say("confirmed 3");

await deliveries(work, 4, (message, body) => {
  say(`got ${body} ${message.redelivered ? "again" : "first"}`);
  if (body === "three") return ConsumerStatus.DROP;
  if (body === "two" && !message.redelivered) return ConsumerStatus.REQUEUE;
  return ConsumerStatus.ACK;
});
await deliveries(dead, 1, (message, body) => {
  say(`dead ${body} ${message.headers["x-death"][0].reason}`);
  return ConsumerStatus.ACK;
});
const returned = Promise.withResolvers();
publisher.once("basic.return", (message) => returned.resolve(message.replyCode));
await publish(publisher, `${prefix}.nowhere`, "lost");
say(`returned ${await returned.promise}`);
await publish(publisher, work, "four");
say("ready");

await closed.promise;
say("cut");
await publish(publisher, work, "five");
await deliveries(work, 2, (_message, body) => {
  say(`after ${body}`);
  return ConsumerStatus.ACK;
});
await publisher.close();
await connection.close();
say("done");
