/** `new_task --wait` of many tasks: a line of JSON for each that has ended. */
import type { Connector } from "../amqp/connection.ts";
import type { Supply } from "../amqp/supply.ts";
import { ConnectionError, EXIT, ToolError } from "../errors.ts";
import type { Item } from "../front/bulk.ts";
import { Calls } from "../front/calls.ts";
import type { Outgoing } from "../front/outgoing.ts";
import { encodeBase64 } from "../observe/base64.ts";
import { escapeControls } from "../observe/log.ts";
import type { TaskAnswer } from "../task/answer.ts";
import { RecordError } from "../task/record.ts";
import { type BulkOrder, itemsOf, UNITS } from "./bulk.ts";
import type { Host } from "./main.ts";
import { openRejects, type Rejects } from "./rejects.ts";
import { onSignals } from "./signals.ts";
import { describeProgress } from "./wait.ts";
import type { WaitOptions } from "./wait_flags.ts";

/** What may be under way at a time. */
const MOST = { tasks: 256, bytes: 16 * 1024 * 1024 };

/**
 * Sends the tasks and waits for their answers.
 *
 * @returns 0 when all are done, 1 when some are dead, 75 when some have no answer
 * @throws {ToolError} it ended before the input did
 */
export async function waitForMany(
  host: Host,
  connector: Connector,
  order: BulkOrder & { readonly wait: WaitOptions },
): Promise<number> {
  const { input, defaults, timeoutMs } = order;
  await using rejects = input.rejects === undefined ? undefined : await openRejects(input.rejects);
  const calls = new Calls({ connector, timeoutMs });
  const many = new ManyCalls(host, calls, rejects, order);
  const signals = onSignals({
    end: (status) => many.stop(new ToolError("ended by a signal", status)),
  });
  try {
    await calls.prepare(input.kind === "ndjson" ? undefined : defaults.queue);
    return await many.send(itemsOf(order));
  } finally {
    signals.dispose();
    await calls.close();
    await rejects?.sync();
  }
}

class ManyCalls {
  readonly #host: Host;
  readonly #calls: Calls;
  readonly #rejects: Rejects | undefined;
  readonly #wait: WaitOptions;
  readonly #unit: string;
  readonly #counts = { done: 0, dead: 0, unknown: 0, rejected: 0 };
  /** Place of the last record that was taken. */
  #last: number;
  /** Place of the first record that was taken and neither sent nor rejected. */
  #firstUnsent = Infinity;
  #tasks = 0;
  #bytes = 0;
  /** Why no more records are taken. */
  #stop: ToolError | undefined;
  /** A fault of this program's. */
  #fault: unknown;
  /** Ends the wait for the next record, or for room. */
  #wake: () => void = () => {};

  constructor(
    host: Host,
    calls: Calls,
    rejects: Rejects | undefined,
    { input, wait }: BulkOrder & { readonly wait: WaitOptions },
  ) {
    this.#host = host;
    this.#calls = calls;
    this.#rejects = rejects;
    this.#wait = wait;
    this.#unit = UNITS[input.kind];
    this.#last = input.skip;
  }

  /** Takes no more records. */
  stop(error: ToolError): void {
    this.#stop ??= error;
    this.#wake();
  }

  async send(items: Supply<Item>): Promise<number> {
    while (this.#stop === undefined) {
      const item = await this.#unlessStopped(this.#next(items));
      if (item === undefined) break;
      await this.#take(item);
    }
    // It may be waiting for input that never comes.
    items.close();
    while (this.#tasks > 0) await this.#turn();
    if (this.#fault !== undefined) throw this.#fault;
    if (this.#stop !== undefined) throw this.#farewell(this.#stop);
    const { dead, unknown } = this.#counts;
    return unknown > 0 ? EXIT.temporary : dead > 0 ? EXIT.dead : EXIT.ok;
  }

  /** What ends the input ends the tasks, too, but after those that are under way. */
  async #next(items: Supply<Item>): Promise<Item | undefined> {
    try {
      return await items.next();
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      this.stop(error);
      return undefined;
    }
  }

  async #take(item: Item): Promise<void> {
    let task: Outgoing | undefined;
    try {
      task = await this.#unlessStopped(Promise.resolve(item.read()));
      if (task?.publication.properties.replyTo !== undefined) {
        throw new RecordError("reply_to", "be absent: the answer comes here", "is there");
      }
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      return await this.#reject(item, new ToolError(error.message, EXIT.badData, { cause: error }));
    }
    if (task === undefined) return;
    const bytes = task.publication.body.length;
    while (this.#isFull(bytes) && this.#stop === undefined) await this.#turn();
    if (this.#stop !== undefined) return;
    this.#last = item.number;
    this.#tasks++;
    this.#bytes += bytes;
    this.#call(item, task).catch((error) => {
      this.#fault ??= error;
      this.stop(new ToolError("a fault in this program", EXIT.internal));
    }).finally(() => {
      this.#tasks--;
      this.#bytes -= bytes;
      this.#wake();
    });
  }

  async #call(item: Item, task: Outgoing): Promise<void> {
    const { number } = item;
    const id = task.publication.properties.messageId!;
    try {
      const answer = await this.#calls.call(task, {
        timeout: this.#wait.answerMs,
        ...(this.#wait.progress
          ? {
            onProgress: (progress) => {
              const words = escapeControls(describeProgress(progress));
              this.#host.complain(`${this.#host.name}: ${this.#unit} ${number}: ${words}\n`);
            },
          }
          : {}),
      });
      this.#counts[answer.outcome]++;
      await this.#host.print(answerLine(number, answer));
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      if (error.exitCode === EXIT.badData) return await this.#reject(item, error);
      const mayBeSent = error instanceof ConnectionError || error.exitCode === EXIT.temporary;
      if (!mayBeSent) return this.#giveUp(item, this.#placed(item, error));
      this.#counts.unknown++;
      const line = { number, id, outcome: "unknown", error: error.message };
      await this.#host.print(`${JSON.stringify(line)}\n`);
    }
  }

  async #reject(item: Item, error: ToolError): Promise<void> {
    if (this.#rejects === undefined) return this.#giveUp(item, this.#placed(item, error));
    try {
      await this.#rejects.add({ [this.#unit]: item.number }, error, item.source);
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      return this.#giveUp(item, error);
    }
    this.#last = Math.max(this.#last, item.number);
    this.#counts.rejected++;
  }

  /** Takes no more records, and this one was not sent. */
  #giveUp({ number }: Item, error: ToolError): void {
    this.#firstUnsent = Math.min(this.#firstUnsent, number);
    this.stop(error);
  }

  #placed({ number }: Item, { message, exitCode }: ToolError): ToolError {
    return new ToolError(`${this.#unit} ${number}: ${message}`, exitCode);
  }

  #isFull(bytes: number): boolean {
    return this.#tasks >= MOST.tasks || (this.#tasks > 0 && this.#bytes + bytes > MOST.bytes);
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => this.#wake = resolve);
  }

  #unlessStopped<T>(promise: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#wake = () => this.#stop === undefined ? undefined : resolve(undefined);
      promise.then(resolve, reject);
    });
  }

  #farewell({ message, exitCode }: ToolError): ToolError {
    const { done, dead, unknown, rejected } = this.#counts;
    const aside = this.#rejects === undefined ? "" : `, rejected: ${rejected}`;
    const first = this.#firstUnsent;
    const next = first > this.#last
      ? `${this.#last}`
      : `${first - 1} (${this.#unit} ${first} was not sent; later ones that are printed were)`;
    return new ToolError(
      `${message}; done: ${done}, dead: ${dead}, unknown: ${unknown}${aside}; go on with --skip ` +
        next,
      exitCode,
    );
  }
}

/** An answer as a line of JSON, in the words of records. */
function answerLine(number: number, answer: TaskAnswer): string {
  const { id, outcome, body, contentType, exitCode, cut, skipped, reason, error, stderrTail } =
    answer;
  const line = JSON.stringify({
    number,
    id,
    outcome,
    content_type: contentType,
    exit_code: exitCode,
    cut: cut || undefined,
    skipped,
    reason,
    error,
    stderr_tail: stderrTail,
  });
  return outcome === "dead"
    ? `${line}\n`
    : `${line.slice(0, -1)},${bodyField(body, contentType)}}\n`;
}

function bodyField(body: Uint8Array, contentType: string | undefined): string {
  const text = textOf(body);
  if (text === undefined) return `"body_base64":${JSON.stringify(encodeBase64(body))}`;
  if (contentType === "application/json") {
    try {
      JSON.parse(text);
      // As it was written, so that no digit is lost. Of a string line breaks are no part.
      return `"json":${text.replace(/[\r\n]/g, " ")}`;
    } catch {
      // It was cut off, or is none.
    }
  }
  return `"body":${JSON.stringify(text)}`;
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
