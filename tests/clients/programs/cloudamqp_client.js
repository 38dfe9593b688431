/**
 * The scenario of clients_test.ts with @cloudamqp/amqp-client's own TCP client.
 * Usage: cloudamqp_client.js URL PREFIX
 */
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { AMQPClient } from "@cloudamqp/amqp-client";

const [url, prefix] = process.argv.slice(2);
const [work, dead] = [`${prefix}.work`, `${prefix}.dead`];

function say(line) {
  process.stdout.write(`${line}\n`);
}

async function connect() {
  while (true) {
    try {
      return await new AMQPClient(url).connect();
    } catch {
      await setTimeout(100);
    }
  }
}

async function publish(channel, key, body) {
  await channel.basicPublish("", key, body, { deliveryMode: 2 }, true);
}

async function deliveries(channel, queue, count, handle) {
  const all = Promise.withResolvers();
  const consumer = await channel.basicConsume(queue, { noAck: false }, (message) => {
    handle(message, message.bodyString());
    if (--count === 0) all.resolve();
  });
  await all.promise;
  await channel.basicCancel(consumer.tag);
}

let connection = await connect();
let channel = await connection.channel();
await channel.confirmSelect();
await channel.queueDeclare(dead, { durable: true });
await channel.queueDeclare(work, { durable: true }, {
  "x-dead-letter-exchange": "",
  "x-dead-letter-routing-key": dead,
});
for (const body of ["one", "two", "three"]) await publish(channel, work, body);
say("confirmed 3");

await channel.basicQos(1);
await deliveries(channel, work, 4, (message, body) => {
  say(`got ${body} ${message.redelivered ? "again" : "first"}`);
  if (body === "three") message.nack(false);
  else if (body === "two" && !message.redelivered) message.nack(true);
  else message.ack();
});
await deliveries(channel, dead, 1, (message, body) => {
  say(`dead ${body} ${message.properties.headers["x-death"][0].reason}`);
  message.ack();
});
const returned = Promise.withResolvers();
channel.onReturn = (message) => returned.resolve(message.replyCode);
await publish(channel, `${prefix}.nowhere`, "lost");
say(`returned ${await returned.promise}`);
const closed = Promise.withResolvers();
connection.onerror = () => {}; // a disconnect follows
connection.ondisconnect = () => closed.resolve();
await publish(channel, work, "four");
say("ready");

await closed.promise;
say("cut");
connection = await connect();
channel = await connection.channel();
await channel.confirmSelect();
await publish(channel, work, "five");
await deliveries(channel, work, 2, (message, body) => {
  say(`after ${body}`);
  message.ack();
});
await connection.close();
say("done");
