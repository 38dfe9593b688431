/**
 * Copies that somebody makes of the data while a broker uses them, under load: each is found out at
 * the start. Either it is refused, or it holds messages of one moment: without a gap, in order, with
 * their own bytes.
 *
 *   deno task copies [MESSAGES [COPIES]]
 */
// deno-lint-ignore-file no-console
import { assert, assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";
import { run } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { portOf, startProcess } from "./harness.ts";
import { storedMessages } from "./stored_messages.ts";

const PERSISTENT = { deliveryMode: 2 };
const QUEUES = ["a", "b"];

/** Messages of a queue that are published, and taken, in one go. */
const BATCH = 100;

/** Confirms that a publisher waits for. */
const WINDOW = 2_000;

const IS_COPY = /warn: the data are a copy .* they were checked and are whole/;
const NOT_WHOLE = /cannot use the data file .*: it was copied while a broker was using it/;

export interface Verdict {
  /** Copies that a broker took, after it had checked them. */
  whole: number;
  /** Copies that a broker did not take. */
  refused: number;
}

export interface CopiesOptions {
  /** That lie in the queues, all the time. */
  messages: number;
  /** Of the body of a message. */
  bytes: number;
  copies: number;
  say?: (sentence: string) => void;
}

/** @throws {AssertionError} when a copy is taken that is not whole, or not found out */
export async function copies(options: CopiesOptions): Promise<Verdict> {
  const { say = () => {} } = options;
  await using dir = await tempDir();
  const data = dir.file("data");
  await using broker = startProcess(["--data", data]);
  await using load = await Load.begin(await portOf(broker), options);
  say(`${options.messages} messages of ${options.bytes} bytes are stored`);
  const verdict: Verdict = { whole: 0, refused: 0 };
  for (let number = 1; number <= options.copies; number++) {
    const copy = dir.file(`copy${number}`);
    const before = load.published;
    await load.go(async () => {
      const { code, stderr } = await run("cp", { args: ["-r", data, copy] });
      assertEquals(code, 0, stderr);
    });
    const moved = load.published - before;
    const started = performance.now();
    await using copied = startProcess(["--data", copy]);
    const reason = await copied.waitForLog(/ready: /)
      .then(() => undefined, () => copied.ended());
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    if (reason === undefined) {
      assert(copied.stderr.some((line) => IS_COPY.test(line)), "a copy is found out");
      verdict.whole++;
    } else {
      assertEquals(reason.code, 65, reason.stderr);
      assert(NOT_WHOLE.test(reason.stderr), reason.stderr);
      verdict.refused++;
    }
    say(
      `copy ${number}, made while ${moved} messages came and went: ` +
        `${reason === undefined ? "whole" : "refused"} after ${seconds} s`,
    );
    copied.kill("SIGKILL");
    await copied.ended();
    if (reason === undefined) assertWhole(copy, options);
    await Deno.remove(copy, { recursive: true });
  }
  return verdict;
}

function bodyOf(queue: string, number: number, bytes: number): string {
  return `${queue} ${number} `.padEnd(bytes, queue);
}

/** Messages that come and go: the queues keep their length. */
class Load implements AsyncDisposable {
  readonly #publishing: PeerChannel;
  readonly #taking: PeerChannel;
  readonly #bytes: number;
  #next = 0;
  #unconfirmed = 0;

  static async begin(port: number, { messages, bytes }: CopiesOptions): Promise<Load> {
    const publishing = await (await openPeer(port)).open();
    const taking = await (await openPeer(port)).open();
    await publishing.call("confirm.select");
    for (const queue of QUEUES) await publishing.call("queue.declare", { queue, durable: true });
    const load = new Load(publishing, taking, bytes);
    while (load.published < messages) await load.#publish();
    await load.#confirmed(0);
    return load;
  }

  private constructor(publishing: PeerChannel, taking: PeerChannel, bytes: number) {
    this.#publishing = publishing;
    this.#taking = taking;
    this.#bytes = bytes;
  }

  get published(): number {
    return this.#next * QUEUES.length;
  }

  async #publish(): Promise<void> {
    for (let i = 0; i < BATCH; i++) {
      const number = this.#next++;
      for (const queue of QUEUES) {
        const body = bodyOf(queue, number, this.#bytes);
        await this.#publishing.publish({ routingKey: queue }, body, PERSISTENT);
        this.#unconfirmed++;
      }
    }
    await this.#confirmed(WINDOW);
  }

  async #confirmed(most: number): Promise<void> {
    while (this.#unconfirmed > most) {
      const { deliveryTag } = await this.#publishing.expect("basic.ack");
      this.#unconfirmed = this.published - deliveryTag;
    }
  }

  async #take(): Promise<void> {
    for (let i = 0; i < BATCH; i++) {
      for (const queue of QUEUES) await this.#taking.send("basic.get", { queue, noAck: true });
    }
    for (let i = 0; i < BATCH * QUEUES.length; i++) {
      await this.#taking.expectContent("basic.get-ok");
    }
  }

  /** Messages come and go until a work is done. */
  async go(work: () => Promise<void>): Promise<void> {
    let isOver = false;
    const working = work().finally(() => isOver = true);
    while (!isOver) await Promise.all([this.#publish(), this.#take()]);
    await working;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#publishing.peer.close();
    await this.#taking.peer.close();
  }
}

/** Looks at the rows themselves: whatever the broker believes. */
function assertWhole(copy: string, { messages, bytes }: CopiesOptions): void {
  const database = new DatabaseSync(`${copy}/broker.db`);
  const counts = new Map<string, number>();
  const numbers = new Map<string, number>();
  const decoder = new TextDecoder();
  for (const stored of storedMessages(database)) {
    const text = decoder.decode(stored.bytes.subarray(stored.headLength));
    const [queue = "", number] = text.split(" ");
    const next = numbers.get(queue) ?? Number(number);
    if (text !== bodyOf(queue, next, bytes)) throw new Error(`${text} instead of ${next}`);
    numbers.set(queue, next + 1);
    counts.set(queue, (counts.get(queue) ?? 0) + 1);
  }
  database.close();
  const slack = BATCH + WINDOW;
  for (const queue of QUEUES) {
    const count = counts.get(queue) ?? 0;
    assert(Math.abs(count - messages / QUEUES.length) <= slack, `${count} in ${queue}`);
  }
}

if (import.meta.main) {
  const [messages = 1_000_000, number = 6] = Deno.args.map(Number);
  const verdict = await copies({ messages, bytes: 500, copies: number, say: console.log });
  console.log(`whole ${verdict.whole}, refused ${verdict.refused}, taken without a word 0`);
}
