/**
 * The same web application as app.py on node:http, for node or Deno.
 *
 * usage: app.mjs LEDGER PORT FRONT TASKS SENT
 */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import process from "node:process";

const [ledger, port, front, tasksPath, sentPath] = process.argv.slice(2);
const toldToWait = new Set();

const server = createServer(async (request, response) => {
  const chunks = [];
  try {
    for await (const chunk of request) chunks.push(chunk);
  } catch {
    return;
  }
  const body = new TextDecoder().decode(new Uint8Array(chunks.flatMap((chunk) => [...chunk])));
  const task = decodeURIComponent(request.headers["task-id"]);
  const attempt = request.headers["task-attempt"];
  const isFirst = attempt === "1";
  if (body === "429" && !toldToWait.has(task)) {
    toldToWait.add(task);
    return response.writeHead(429, { "Retry-After": "1" }).end("not now");
  }
  if (body === "flaky" && isFirst) return response.writeHead(500).end("not this time");
  if (body === "404" || body === "500") return response.writeHead(+body).end(`cannot do ${task}`);
  if (body === "slow" || (body === "hang" && isFirst)) return;
  appendFileSync(ledger, `${task} ${attempt} ${request.url}\n`);
  if (body !== "cut" || !isFirst) return response.end("done");
  response.writeHead(200, { "Content-Length": "100" });
  response.write("half", () => request.socket.destroy());
});

/** Sends tasks one after the other, each until it is taken. */
async function sendAll(tasks) {
  for (const [task, body] of tasks) {
    while (!await isTaken(task, body));
    appendFileSync(sentPath, `${task}\n`);
  }
}

async function isTaken(task, body) {
  let answer;
  try {
    const headers = { "Idempotency-Key": task, "Content-Type": "text/plain" };
    answer = await fetch(front, { method: "POST", body, headers });
    await answer.text();
  } catch {
    await new Promise((resolve) => setTimeout(resolve, 100));
    return false;
  }
  if (answer.status === 202) return true;
  if (answer.status !== 429 && answer.status !== 503) throw new Error(`status ${answer.status}`);
  const seconds = Number(answer.headers.get("retry-after"));
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  return false;
}

server.listen(Number(port), "127.0.0.1", () => {
  const taken = new Set(existsSync(sentPath) ? readFileSync(sentPath, "utf8").split("\n") : []);
  const left = Object.entries(JSON.parse(readFileSync(tasksPath, "utf8")))
    .filter(([task]) => !taken.has(task));
  for (let start = 0; start < 4; start++) sendAll(left.filter((_, i) => i % 4 === start));
  process.stdout.write("ready\n");
});
