/** The scenario of clients_test.ts with amqplib. Usage: amqplib_client.js URL PREFIX */
import { Buffer } from "node:buffer";
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import amqplib from "amqplib";

const [url, prefix] = process.argv.slice(2);
const [work, dead] = [`${prefix}.work`, `${prefix}.dead`];

function say(line) {
  process.stdout.write(`${line}\n`);
}

async function connect() {
  while (true) {
    try {
      return await amqplib.connect(url);
    } catch {
      await setTimeout(100);
    }
  }
}

async function publish(channel, key, body) {
  channel.sendToQueue(key, Buffer.from(body), { persistent: true, mandatory: true });
  await channel.waitForConfirms();
}

async function deliveries(channel, queue, count, handle) {
  const all = Promise.withResolvers();
  const { consumerTag } = await channel.consume(queue, (message) => {
    handle(message, message.content.toString());
    if (--count === 0) all.resolve();
  });
  await all.promise;
  await channel.cancel(consumerTag);
}

let connection = await connect();
let channel = await connection.createConfirmChannel();
await channel.assertQueue(dead, { durable: true });
await channel.assertQueue(work, {
  durable: true,
  deadLetterExchange: "",
  deadLetterRoutingKey: dead,
});
for (const body of ["one", "two", "three"]) await publish(channel, work, body);
say("confirmed 3");

await channel.prefetch(1);
await deliveries(channel, work, 4, (message, body) => {
  const { redelivered } = message.fields;
  say(`got ${body} ${redelivered ? "again" : "first"}`);
  if (body === "three") channel.nack(message, false, false);
  else if (body === "two" && !redelivered) channel.nack(message, false, true);
  else channel.ack(message);
});
await deliveries(channel, dead, 1, (message, body) => {
  say(`dead ${body} ${message.properties.headers["x-death"][0].reason}`);
  channel.ack(message);
});
const returned = Promise.withResolvers();
channel.once("return", (message) => returned.resolve(message.fields.replyCode));
await publish(channel, `${prefix}.nowhere`, "lost");
say(`returned ${await returned.promise}`);
const closed = Promise.withResolvers();
connection.on("error", () => {}); // a close follows
connection.once("close", closed.resolve);
await publish(channel, work, "four");
say("ready");

await closed.promise;
say("cut");
connection = await connect();
channel = await connection.createConfirmChannel();
await publish(channel, work, "five");
await deliveries(channel, work, 2, (message, body) => {
  say(`after ${body}`);
  channel.ack(message);
});
await connection.close();
say("done");
