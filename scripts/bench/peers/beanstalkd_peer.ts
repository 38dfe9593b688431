/**
 * The bench's peer on beanstalkd's own protocol: put, reserve, delete, with many on their way.
 *
 *   beanstalkd_peer.ts publish|consume|queues|latency PORT QUEUE COUNT WINDOW SIZE [SPREAD]
 */
import { type Load, runPeer, type Session } from "./session.ts";

/** Seconds after which a reserved job would be given to another. */
const TIME_TO_RUN = 600;

class Connection implements Session {
  readonly #conn: Deno.TcpConn;
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder("latin1");
  /** Who waits for a reply, in order. */
  readonly #waiting: PromiseWithResolvers<string>[] = [];
  #outgoing: string[] = [];
  #tube = "";

  constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
    conn.setNoDelay(true);
    this.#read();
  }

  async send(queue: string, body: string): Promise<void> {
    const use = queue === this.#tube ? undefined : this.#call(`use ${queue}\r\n`);
    this.#tube = queue;
    const reply = this.#call(`put 0 0 ${TIME_TO_RUN} ${body.length}\r\n${body}\r\n`);
    const [said] = await Promise.all([reply, use]);
    if (!said.startsWith("INSERTED")) throw new Error(`beanstalkd answers ${said} to a put`);
  }

  async work(queue: string, count: number, window: number, take: () => void): Promise<void> {
    await this.#call(`watch ${queue}\r\n`);
    let reserved = 0;
    await Promise.all(Array.from({ length: Math.min(window, count) }, async () => {
      while (reserved++ < count) {
        const said = await this.#call("reserve\r\n");
        const id = /^RESERVED (\d+)/.exec(said)?.[1];
        if (id === undefined) throw new Error(`beanstalkd answers ${said} to a reserve`);
        take();
        await this.#call(`delete ${id}\r\n`);
      }
    }));
  }

  #call(command: string): Promise<string> {
    const reply = Promise.withResolvers<string>();
    this.#waiting.push(reply);
    if (this.#outgoing.push(command) === 1) queueMicrotask(() => this.#flush());
    return reply.promise;
  }

  /** Everything of a turn in one write. */
  #flush(): void {
    let bytes = this.#encoder.encode(this.#outgoing.join(""));
    this.#outgoing = [];
    const previous = this.#written;
    this.#written = (async () => {
      await previous;
      while (bytes.length > 0) bytes = bytes.subarray(await this.#conn.write(bytes));
    })();
  }
  #written: Promise<void> = Promise.resolve();

  async #read(): Promise<void> {
    const buffer = new Uint8Array(65_536);
    let rest = "";
    /** Characters of a body, and of the line end behind it, that are still to come. */
    let skip = 0;
    let line = "";
    for (let size; (size = await this.#conn.read(buffer)) !== null;) {
      rest += this.#decoder.decode(buffer.subarray(0, size));
      for (let from = 0;;) {
        if (skip > 0) {
          const skipped = Math.min(skip, rest.length - from);
          from += skipped;
          skip -= skipped;
          if (skip === 0) this.#waiting.shift()!.resolve(line);
          else {
            rest = "";
            break;
          }
        }
        const end = rest.indexOf("\r\n", from);
        if (end < 0) {
          rest = rest.slice(from);
          break;
        }
        line = rest.slice(from, end);
        from = end + 2;
        const body = /^RESERVED \d+ (\d+)$/.exec(line)?.[1];
        if (body === undefined) this.#waiting.shift()!.resolve(line);
        else skip = Number(body) + 2;
      }
    }
  }
}

await runPeer(async ({ port }: Load) =>
  new Connection(await Deno.connect({ hostname: "127.0.0.1", port }))
);
