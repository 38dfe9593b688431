/**
 * About the least that publishing a task can cost on the package's protocol code: its base client on
 * Deno.connect, step by step, and no limit, check or sentence about anything. Nearly all of its time
 * is Deno's own start, the package and the broker; the bench shows how far new_task is from that.
 */
import { AMQPBaseClient } from "@cloudamqp/amqp-client/amqp-base-client";
import { AMQPView } from "../../src/amqp/client/view.ts";

class LeastClient extends AMQPBaseClient {
  readonly #conn: Deno.TcpConn;

  constructor(conn: Deno.TcpConn, url: URL) {
    super(decodeURIComponent(url.pathname.slice(1)) || "/", url.username, url.password);
    this.#conn = conn;
  }

  override async connect(): Promise<AMQPBaseClient> {
    const opened = new Promise<AMQPBaseClient>((...settle) => this.connectPromise = settle);
    await this.send(new TextEncoder().encode("AMQP\0\0\x09\x01"));
    this.#read();
    return await opened;
  }

  override async send(bytes: Uint8Array): Promise<void> {
    await this.#conn.write(bytes);
  }

  protected override closeSocket(): void {
    this.#conn.close();
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(64 * 1024);
    for (;;) {
      const n = await this.#conn.read(buffer).catch(() => null); // it was closed
      if (n === null) return;
      this.parseFrames(new AMQPView(buffer.buffer, 0, n));
    }
  }
}

const url = new URL(Deno.env.get("AMQP_URL")!);
const queue = Deno.env.get("WORK_QUEUE")!;
const conn = await Deno.connect({ hostname: url.hostname, port: Number(url.port || 5672) });
conn.setNoDelay(true);
const client = new LeastClient(conn, url);
await client.connect();
const channel = await client.channel();
await channel.queueDeclare(queue, { passive: true });
await channel.confirmSelect();
await channel.basicPublish("", queue, "hello", {
  deliveryMode: 2,
  contentType: "text/plain",
  messageId: crypto.randomUUID(),
}, true);
await Deno.stdout.write(new TextEncoder().encode(" [x] Sent hello\n"));
await client.close();
Deno.exit(0);
