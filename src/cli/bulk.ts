/** `new_task --lines`, `--null`, `--ndjson` and `--files`: a task from every record of an input. */
import type { Connector } from "../amqp/connection.ts";
import type { Supply } from "../amqp/supply.ts";
import { EXIT, ToolError } from "../errors.ts";
import { Bulk, type Item } from "../front/bulk.ts";
import { type Defaults, type Outgoing, outgoingOf } from "../front/outgoing.ts";
import { parseRecord } from "../task/record.ts";
import type { BulkInput } from "./bulk_flags.ts";
import { readInput } from "./input.ts";
import { isBlank, type Line, Lines } from "./lines.ts";
import type { Host } from "./main.ts";
import { type Known, showProgress } from "./progress.ts";
import { openRejects } from "./rejects.ts";
import { onSignals } from "./signals.ts";
import { MAX_BODY_BYTES } from "./task_flags.ts";

export interface BulkOrder {
  readonly input: BulkInput;
  readonly defaults: Defaults;
  /** Beginning of the ids of tasks that have none; their numbers follow. */
  readonly idPrefix: string;
  /** It was given, so that the same input has the same ids when it is sent again. */
  readonly isIdChosen: boolean;
  /** How long nothing may be confirmed while something waits for it, in milliseconds. */
  readonly timeoutMs: number;
  readonly quiet: boolean;
}

/** Of a record's text, which becomes a string of at most so many characters. */
const MAX_RECORD_BYTES = 256 * 1024 * 1024;

/** Header of a task that a file became: its name, as it was given. */
const FILE_HEADER = "task-file";

/** What a record is called. */
export const UNITS = { lines: "line", null: "record", ndjson: "line", files: "file" } as const;

/**
 * Sends the tasks; returns when the broker has confirmed all of them.
 *
 * The first signal to end takes no more of them, and waits for those that are under way.
 *
 * @throws {ToolError} it ended before the input did
 */
export async function sendBulk(
  host: Host,
  connector: Connector,
  order: BulkOrder,
): Promise<number> {
  const { input, defaults, quiet } = order;
  await using rejects = input.rejects === undefined ? undefined : await openRejects(input.rejects);
  const unit = UNITS[input.kind];
  const bulk = new Bulk({
    connector,
    timeoutMs: order.timeoutMs,
    unit,
    skip: input.skip,
    // Records may all be for other queues.
    queue: input.kind === "ndjson" ? undefined : defaults.queue,
    onRejected: rejects &&
      ((item, error) => rejects.add({ [unit]: item.number }, error, item.source)),
  });
  const signals = onSignals({
    end: (status) => bulk.stop(new ToolError("ended by a signal", status)),
  });
  const progress = quiet ? undefined : await showProgress(host, bulk, await knownOf(input));
  try {
    await bulk.send(itemsOf(order));
  } finally {
    signals.dispose();
    progress?.end();
    await rejects?.sync();
  }
  const { confirmed, rejected } = bulk;
  // Behind the end of the bar, which would wipe it off otherwise.
  await host.flushed();
  const aside = rejects === undefined ? "" : `, rejected ${rejected}`;
  if (!quiet) host.print(` [x] Sent ${confirmed} ${confirmed === 1 ? "task" : "tasks"}${aside}\n`);
  return EXIT.ok;
}

/** The tasks of the input. */
export function itemsOf(order: BulkOrder): Supply<Item> {
  return order.input.kind === "files" ? new Files(order) : new Records(order);
}

class Records implements Supply<Item> {
  readonly #order: BulkOrder;
  readonly #lines: Lines;

  constructor(order: BulkOrder) {
    const { kind, skip, paths } = order.input;
    const limit = kind === "ndjson" ? MAX_RECORD_BYTES : MAX_BODY_BYTES;
    this.#order = order;
    this.#lines = new Lines(paths[0]!, { limit, nul: kind === "null", skip });
  }

  next(): Item | undefined | Promise<Item | undefined> {
    for (;;) {
      const line = this.#lines.next();
      if (line instanceof Promise) return this.#waitFor(line);
      if (line === undefined) return undefined;
      if (!this.#isNone(line)) return new LineItem(line, this.#order);
    }
  }

  #isNone({ bytes }: Line): boolean {
    return this.#order.input.kind === "ndjson" ? isBlank(bytes) : bytes.length === 0;
  }

  async #waitFor(line: Promise<Line | undefined>): Promise<Item | undefined> {
    for (let found = await line;; found = await this.#lines.next()) {
      if (found === undefined) return undefined;
      if (!this.#isNone(found)) return new LineItem(found, this.#order);
    }
  }

  close(): void {
    this.#lines.close();
  }
}

class LineItem implements Item {
  readonly #line: Line;
  readonly #order: BulkOrder;

  constructor(line: Line, order: BulkOrder) {
    this.#line = line;
    this.#order = order;
  }

  get number(): number {
    return this.#line.number;
  }

  get source(): Uint8Array {
    return this.#line.bytes;
  }

  get end(): number {
    return this.#line.end;
  }

  read(): Outgoing {
    const { input, defaults, idPrefix, isIdChosen: isChosen } = this.#order;
    const { number, bytes } = this.#line;
    const now = Date.now();
    const record = input.kind === "ndjson"
      ? parseRecord(bytes, { now })
      : { body: bytes, properties: {} };
    return outgoingOf(record, defaults, { id: `${idPrefix}-${number}`, isChosen, now });
  }
}

class Files implements Supply<Item> {
  readonly #order: BulkOrder;
  #last: number;

  constructor(order: BulkOrder) {
    this.#order = order;
    this.#last = order.input.skip;
  }

  next(): Item | undefined {
    const { input, defaults, idPrefix, isIdChosen: isChosen } = this.#order;
    if (this.#last >= input.paths.length) return undefined;
    const number = ++this.#last;
    const path = input.paths[number - 1]!;
    return {
      number,
      source: new TextEncoder().encode(path),
      end: number,
      read: async () => {
        const body = await readInput(path, MAX_BODY_BYTES);
        const record = { body, properties: { headers: { [FILE_HEADER]: path } } };
        const stamp = { id: `${idPrefix}-${number}`, isChosen, now: Date.now() };
        return outgoingOf(record, defaults, stamp);
      },
    };
  }

  close(): void {
    this.#last = Infinity;
  }
}

/** What is known beforehand of how much there is. */
async function knownOf({ kind, paths, skip }: BulkInput): Promise<Known> {
  if (kind === "files") return { start: skip, total: paths.length };
  const { fstatSync, statSync } = await import("node:fs");
  try {
    const [path] = paths as [string];
    const stat = path === "-" ? fstatSync(0) : statSync(path);
    return { start: undefined, total: stat.isFile() ? stat.size : undefined };
  } catch {
    return { start: undefined, total: undefined }; // whoever reads it says why
  }
}
