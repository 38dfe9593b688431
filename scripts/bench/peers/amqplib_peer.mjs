/**
 * The bench's peer on amqplib, for Node: the same work as ../go/peer.go, with the same output.
 *
 *   amqplib_peer.mjs publish|consume URL QUEUE COUNT WINDOW SIZE
 */
import process from "node:process";
import { connect } from "amqplib";

const [mode, url, queue, ...numbers] = process.argv.slice(2);
const [count, window, size] = numbers.map(Number);
const connection = await connect(url);

async function publish() {
  const channel = await connection.createConfirmChannel();
  const body = new Uint8Array(size).fill(0x78);
  const content = globalThis.Buffer.from(body);
  const started = performance.now();
  await new Promise((resolve, reject) => {
    let sent = 0;
    let confirmed = 0;
    const onConfirm = (error) => {
      if (error) return reject(error);
      if (++confirmed === count) return resolve();
      send();
    };
    const send = () => {
      while (sent < count && sent - confirmed < window) {
        sent++;
        channel.sendToQueue(queue, content, {
          persistent: true,
          mandatory: true,
          contentType: "text/plain",
        }, onConfirm);
      }
    };
    send();
  });
  return (performance.now() - started) / 1000;
}

async function consume() {
  const channel = await connection.createChannel();
  await channel.prefetch(window);
  let started;
  let done = 0;
  await new Promise((resolve) =>
    channel.consume(queue, (message) => {
      started ??= performance.now();
      if (done === count) return;
      channel.ack(message);
      if (++done === count) resolve();
    })
  );
  const seconds = (performance.now() - started) / 1000;
  await channel.close();
  return seconds;
}

const seconds = await (mode === "publish" ? publish() : consume());
await connection.close();
// deno-lint-ignore no-console
console.log(`${seconds.toFixed(6)} ${process.resourceUsage().maxRSS} 0`);
