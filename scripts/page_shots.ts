/**
 * Takes the pictures of docs/page/: the page in front of a broker whose queues are empty, busy,
 * paused, full of dead tasks, and gone; light and dark, on a desk and on a phone. Takes minutes, as
 * charts need a past. Chromium is needed, and the font Inter makes them look as on most machines.
 *
 *   deno task page:shots [SECONDS of traffic, default 150]
 */
// deno-lint-ignore-file no-console
import { setTimeout as pause } from "node:timers/promises";
import { Buffer } from "node:buffer";
import { type Browser, chromium, type Page } from "playwright-core";
import { type Channel, connect } from "amqplib";

const folder = new URL("../docs/page/", import.meta.url);
const seconds = Number(Deno.args[0] ?? 150);
const [AMQP_PORT, HTTP_PORT] = [25_673, 29_181];
const url = `http://127.0.0.1:${HTTP_PORT}/`;

const DESK = { width: 1280, height: 860 };
const PHONE = { width: 390, height: 844 };

/** Queues with tasks a second that come and milliseconds that one takes, with so many workers. */
const TRAFFIC = [
  { queue: "mails", perSecond: 24, ms: 150, workers: 4, type: "welcome" },
  { queue: "thumbnails", perSecond: 9, ms: 500, workers: 4, type: "image.resize" },
  { queue: "webhooks", perSecond: 14, ms: 90, workers: 1, type: "order.paid" },
  { queue: "invoices", perSecond: 3, ms: 400, workers: 1, type: "invoice.render" },
  { queue: "imports", perSecond: 1.2, ms: 2_600, workers: 2, type: "csv.import" },
  { queue: "reports", perSecond: 0.6, ms: 900, workers: 1, type: "report.daily" },
];

const DEATHS = [
  {
    reason: "max-attempts",
    type: "order.paid",
    error: "exit status 22: 503 Service Unavailable",
    n: 214,
  },
  { reason: "max-attempts", type: "order.refunded", error: "timeout after 30 s", n: 37 },
  { reason: "rejected", type: "order.paid", error: "exit status 100: unknown customer", n: 12 },
  { reason: "expired", type: "order.paid", error: undefined, n: 5 },
];

class Broker implements AsyncDisposable {
  readonly #data = Deno.makeTempDirSync();
  #process: Deno.ChildProcess | undefined;

  async start(): Promise<void> {
    this.#process = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "src/broker.ts", "--port", `${AMQP_PORT}`],
        ...["--http", `${HTTP_PORT}`, "--data", `${this.#data}/data`],
      ],
      cwd: new URL("../", import.meta.url),
      stdout: "null",
      stderr: "inherit",
    }).spawn();
    for (;;) {
      const answer = await fetch(`${url}livez`).catch(() => undefined);
      await answer?.body?.cancel();
      if (answer?.ok) return;
      await pause(100);
    }
  }

  async stop(): Promise<void> {
    this.#process?.kill("SIGTERM");
    await this.#process?.status;
    this.#process = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await Deno.remove(this.#data, { recursive: true });
  }
}

async function channelNamed(name: string): Promise<Channel> {
  const connection = await connect(`amqp://guest:guest@127.0.0.1:${AMQP_PORT}`, {
    clientProperties: { connection_name: name, product: "demo" },
  });
  connection.on("error", () => {});
  return await connection.createChannel();
}

/** Runs until the broker ends. */
async function startTraffic(): Promise<void> {
  const sender = await channelNamed("shop");
  for (const { queue, perSecond, ms, workers, type } of TRAFFIC) {
    await sender.assertQueue(queue, { durable: true, arguments: { "x-queue-type": "quorum" } });
    const begin = Date.now();
    let [sent, due] = [0, 0];
    setInterval(() => {
      const t = (Date.now() - begin) / 1_000;
      due += perSecond / 10 * (1 + 0.7 * Math.sin(t / 17 + perSecond) + 0.3 * Math.sin(t / 5));
      for (; sent < due; sent++) attempt(() => send(sender, queue, type));
    }, 100);
    for (let worker = 1; worker <= workers; worker++) {
      const channel = await channelNamed(`worker ${queue} ${worker}`);
      await channel.prefetch(2);
      await channel.consume(queue, (message) => {
        if (message === null) return;
        setTimeout(() => attempt(() => channel.ack(message)), ms * (0.6 + 0.8 * Math.random()));
      });
    }
  }
}

/** The broker may have ended. */
function attempt(act: () => unknown): void {
  try {
    act();
  } catch {
    // Nobody listens any more.
  }
}

let number = 48_210;

function send(channel: Channel, queue: string, type: string, headers: object = {}): void {
  number++;
  const body = {
    order: number,
    customer: `c-${number % 977}`,
    total: (number * 37 % 20_000) / 100,
  };
  channel.sendToQueue(queue, Buffer.from(JSON.stringify(body)), {
    persistent: true,
    messageId: `order-${number}`,
    type,
    headers,
    contentType: "application/json",
  });
}

async function sendDead(): Promise<void> {
  const channel = await channelNamed("demo");
  const quorum = { durable: true, arguments: { "x-queue-type": "quorum" } };
  await channel.assertQueue("webhooks.dead", quorum);
  await channel.assertQueue("mails.dead", quorum);
  for (const { reason, type, error, n } of DEATHS) {
    for (let index = 0; index < n; index++) {
      send(channel, "webhooks.dead", type, deathOf(reason, error));
    }
  }
  for (let index = 0; index < 3; index++) {
    send(channel, "mails.dead", "welcome", deathOf("rejected", "exit status 100: no such mailbox"));
  }
  const delay = "webhooks.delay.900000";
  await channel.assertQueue(delay, {
    durable: true,
    arguments: {
      "x-queue-type": "quorum",
      "x-message-ttl": 900_000,
      "x-dead-letter-exchange": "",
      "x-dead-letter-routing-key": "webhooks",
    },
  });
  for (let index = 0; index < 41; index++) {
    send(channel, delay, "order.paid", { "task-attempt": 2 });
  }
}

function deathOf(reason: string, error: string | undefined): object {
  return {
    "task-dead-reason": reason,
    "task-attempt": 5,
    "task-origin-queue": "webhooks",
    "task-host": "web-1",
    "task-died-at": new Date().toISOString(),
    ...(error === undefined ? {} : { "task-error": error }),
  };
}

class Camera {
  readonly #browser: Browser;

  constructor(browser: Browser) {
    this.#browser = browser;
  }

  async shoot(
    name: string,
    hash: string,
    scheme: "light" | "dark",
    viewport: { width: number; height: number },
    prepare: (page: Page) => Promise<unknown> = () => Promise.resolve(),
  ): Promise<void> {
    const page = await this.#browser.newPage({
      viewport,
      colorScheme: scheme,
      ...(viewport === PHONE ? { deviceScaleFactor: 2, isMobile: true, hasTouch: true } : {}),
    });
    await page.goto(url + hash);
    await page.getByText("Live", { exact: true }).waitFor();
    await pause(1_500);
    await prepare(page);
    await pause(600);
    const png = await page.screenshot();
    await page.close();
    await Deno.writeFile(new URL(`${name}.webp`, folder), await this.#toWebp(png));
    console.log(name);
  }

  async #toWebp(png: Uint8Array): Promise<Uint8Array> {
    const page = await this.#browser.newPage();
    const base64 = await page.evaluate(async (source) => {
      const { createImageBitmap, document } = globalThis as unknown as {
        createImageBitmap(blob: Blob): Promise<{ width: number; height: number }>;
        // deno-lint-ignore no-explicit-any
        document: any;
      };
      const image = await createImageBitmap(await (await fetch(source)).blob());
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.width, image.height];
      canvas.getContext("2d").drawImage(image, 0, 0);
      return canvas.toDataURL("image/webp", 0.86).split(",")[1] as string;
    }, `data:image/png;base64,${Buffer.from(png).toString("base64")}`);
    await page.close();
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  }
}

async function setPaused(queue: string, paused: boolean): Promise<void> {
  const answer = await fetch(`${url}api/v1/queues/%2F/${queue}/paused`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ paused }),
  });
  await answer.body?.cancel();
}

async function main(): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  await using broker = new Broker();
  await broker.start();
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--no-sandbox"],
  });
  const camera = new Camera(browser);
  await camera.shoot("empty", "", "light", DESK);
  await camera.shoot("empty-phone", "", "dark", PHONE);
  await startTraffic();
  await sendDead();
  await pause(seconds * 700);
  await setPaused("reports", true);
  await pause(seconds * 300);
  await camera.shoot("busy", "", "light", DESK);
  await camera.shoot("busy-dark", "", "dark", DESK);
  await camera.shoot("busy-phone", "", "light", PHONE);
  await camera.shoot("paused", "#/queue/%2F/reports/waiting", "light", DESK);
  await camera.shoot("paused-phone", "#/queue/%2F/reports/waiting", "dark", PHONE);
  await camera.shoot("dead", "#/queue/%2F/webhooks/dead", "light", DESK, scrollDown);
  await camera.shoot(
    "dead-dark",
    "#/dead",
    "dark",
    DESK,
    (page) => page.getByRole("button", { name: "Replay max-attempts order.paid" }).click(),
  );
  await camera.shoot("dead-phone", "#/queue/%2F/webhooks/dead", "light", PHONE, scrollDown);
  await camera.shoot(
    "task",
    "#/queue/%2F/webhooks/dead",
    "light",
    DESK,
    (page) => page.locator(".messages button.link").first().click(),
  );
  await camera.shoot("disconnected", "", "light", DESK, async (page) => {
    await broker.stop();
    await page.getByText("Disconnected").waitFor();
  });
  await browser.close();
  Deno.exit(0); // the traffic has nobody to talk to
}

async function scrollDown(page: Page): Promise<void> {
  await page.locator(".groups").scrollIntoViewIfNeeded();
  await page.evaluate("document.querySelector('.tabs').scrollIntoView()");
  await page.evaluate("scrollBy(0, -80)");
}

try {
  await main();
} catch (error) {
  console.error(error);
  Deno.exit(1);
}
