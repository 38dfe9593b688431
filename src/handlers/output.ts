/** Where the output of a command goes, without ever holding much of it in memory. */
import { concat } from "@std/bytes/concat";
import { EXIT, InputError, reason } from "../errors.ts";
import { escapeControls } from "../observe/log.ts";
import { type Target, writeSome } from "../observe/write.ts";
import { AnswerHead } from "./answer.ts";
import type { Sink } from "./process_group.ts";
import { toHex } from "../task/hex.ts";

/**
 * - `prefix`: line by line to the worker's stderr, each line behind the task's id
 * - `inherit`: straight to the worker's stdout and stderr
 * - `null`: nowhere
 * - `file`: to `<id>.<attempt>.stdout` and `.stderr` in a directory
 */
export type OutputMode =
  | { readonly kind: "prefix" | "inherit" | "null" }
  | { readonly kind: "file"; readonly directory: string };

/** How much of the end of stderr is kept, in bytes. */
const TAIL_BYTES = 4_096;

/** A line longer than this is cut into several, in bytes. */
const MAX_LINE_BYTES = 8_192;

const NEWLINE = 0x0a;

/** Reads "prefix", "inherit", "null" or "file:DIR"; undefined when it is none of them. */
export function parseOutputMode(text: string): OutputMode | undefined {
  if (text === "prefix" || text === "inherit" || text === "null") return { kind: text };
  const directory = /^file:(.+)$/s.exec(text)?.[1];
  return directory === undefined ? undefined : { kind: "file", directory };
}

/** Keeps the last {@linkcode TAIL_BYTES} bytes of a stream. */
export class Tail {
  #kept = new Uint8Array(0);

  push(chunk: Uint8Array): void {
    if (chunk.length >= TAIL_BYTES) {
      this.#kept = chunk.slice(-TAIL_BYTES);
      return;
    }
    const old = this.#kept.subarray(-(TAIL_BYTES - chunk.length));
    this.#kept = concat([old, chunk]);
  }

  /** As text of at most {@linkcode TAIL_BYTES} bytes of UTF-8; what is no UTF-8 is replaced. */
  text(): string {
    // A cut may have left the end of a character at the start.
    let start = 0;
    if (this.#kept.length === TAIL_BYTES) {
      while (start < 3 && (this.#kept[start]! & 0xc0) === 0x80) start++;
    }
    const text = new TextDecoder().decode(this.#kept.subarray(start));
    const bytes = new TextEncoder().encode(text);
    if (bytes.length <= TAIL_BYTES) return text;
    // Replacement characters take three bytes each.
    return new TextDecoder().decode(bytes.subarray(-TAIL_BYTES)).replace(/^\ufffd+/, "");
  }
}

/** Writes chunks from several tasks to one file in order, each whole. */
export class SharedWriter {
  readonly #target: Target;
  #queue: Promise<void> = Promise.resolve();
  #broken = false;

  constructor(target: Target) {
    this.#target = target;
  }

  /** Resolves when written. A target that fails once (closed pipe, full disk) is left alone. */
  write(bytes: Uint8Array): Promise<void> {
    this.#queue = this.#queue.then(() => this.#writeAll(bytes));
    return this.#queue;
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    if (this.#broken) return;
    try {
      for (let sent = 0; sent < bytes.length;) {
        sent += await writeSome(this.#target, bytes.subarray(sent));
      }
    } catch {
      this.#broken = true;
    }
  }
}

/** Makes of a line, without its newline, what is to be written, with one. */
type RenderLine = (line: Uint8Array) => Uint8Array;

/** How the lines of one stream are written. */
export type LineStyle = (origin: LineOrigin) => RenderLine;

/** Where a line comes from. */
export interface LineOrigin {
  /** Of the task, or what stands for it. */
  readonly id: string;
  readonly attempt: number;
  readonly stream: "stdout" | "stderr";
}

/** Each line behind its task's id. */
function prefixed({ id }: LineOrigin): RenderLine {
  const prefix = new TextEncoder().encode(`[${escapeControls(id)}] `);
  return (line) => concat([prefix, line, Uint8Array.of(NEWLINE)]);
}

/** Writes a stream of bytes line by line. */
export class LineWriter {
  readonly #render: RenderLine;
  readonly #write: Sink;
  /** A line that has not ended yet; shorter than {@linkcode MAX_LINE_BYTES}. */
  #partial = new Uint8Array(0);

  constructor(render: RenderLine, write: Sink) {
    this.#render = render;
    this.#write = write;
  }

  async push(chunk: Uint8Array): Promise<void> {
    const bytes = concat([this.#partial, chunk]);
    const parts: Uint8Array[] = [];
    let start = 0;
    while (start < bytes.length) {
      const newline = bytes.indexOf(NEWLINE, start);
      const end = Math.min(newline < 0 ? Infinity : newline, start + MAX_LINE_BYTES);
      if (end > bytes.length || (newline < 0 && end === bytes.length)) break;
      parts.push(this.#render(bytes.subarray(start, end)));
      start = end === newline ? end + 1 : end;
    }
    this.#partial = bytes.slice(start);
    if (parts.length > 0) await this.#write(concat(parts));
  }

  /** Writes the last line if it did not end. */
  async end(): Promise<void> {
    if (this.#partial.length === 0) return;
    await this.push(Uint8Array.of(NEWLINE));
  }
}

/** The sinks of one run of a command. */
export interface RunOutput {
  readonly stdout: Sink | "inherit" | "null";
  readonly stderr: Sink | "inherit" | "null";
  /** The end of stderr, "" when it went elsewhere. */
  tail(): string;
  /** The beginning of stdout, where it was to be kept. */
  readonly head?: AnswerHead;
  /** Writes and closes what is open. Call it once, after the pipes are closed. */
  close(): Promise<void>;
}

/** Makes the sinks of runs. */
export class OutputRouter {
  readonly #mode: OutputMode;
  readonly #stderr: SharedWriter;
  readonly #report: (message: string) => void;
  readonly #style: LineStyle;
  /** Of a worker whose commands write there themselves, unless somebody waits for it. */
  readonly #stdout = new SharedWriter(Deno.stdout);

  /**
   * @param report told when a task's output cannot be written
   * @param style of the lines; default behind the task's id
   * @throws {InputError} no file can be made in the directory for the output
   */
  constructor(
    mode: OutputMode,
    stderr: SharedWriter,
    report: (message: string) => void,
    style: LineStyle = prefixed,
  ) {
    this.#style = style;
    if (mode.kind === "file") requireWritable(mode.directory);
    this.#mode = mode;
    this.#stderr = stderr;
    this.#report = report;
  }

  /**
   * @param id the task's id, or something else that tells its output from another's
   * @param bytes the same, for the names of files; two that look alike may differ
   */
  open(
    id: string,
    attempt: number,
    bytes: Uint8Array = new TextEncoder().encode(id),
  ): RunOutput {
    const tail = new Tail();
    const text = () => tail.text();
    switch (this.#mode.kind) {
      case "inherit":
        return { stdout: "inherit", stderr: "inherit", tail: text, close: async () => {} };
      case "null":
        return { stdout: "null", stderr: keep(tail), tail: text, close: async () => {} };
      case "prefix": {
        const write = (bytes: Uint8Array) => this.#stderr.write(bytes);
        const lines = (["stdout", "stderr"] as const).map((stream) =>
          new LineWriter(this.#style({ id, attempt, stream }), write)
        );
        return {
          stdout: (chunk) => lines[0]!.push(chunk),
          stderr: keep(tail, (chunk) => lines[1]!.push(chunk)),
          tail: text,
          close: async () => {
            for (const line of lines) await line.end();
          },
        };
      }
      case "file": {
        const { directory } = this.#mode;
        const files = ["stdout", "stderr"].map((name) =>
          new LazyFile(async () => `${directory}/${await fileNameOf(bytes)}.${attempt}.${name}`)
        );
        return {
          stdout: (chunk) => files[0]!.write(chunk),
          stderr: keep(tail, (chunk) => files[1]!.write(chunk)),
          tail: text,
          close: async () => {
            for (const file of files) {
              const fault = await file.close();
              if (fault !== undefined) this.#report(fault);
            }
          },
        };
      }
    }
  }

  /** The same, and what a command writes to stdout is kept for its answer, too. */
  openForAnswer(...given: Parameters<OutputRouter["open"]>): RunOutput {
    const output = this.open(...given);
    const { stdout } = output;
    const next = typeof stdout === "function"
      ? stdout
      : stdout === "inherit"
      ? (chunk: Uint8Array) => this.#stdout.write(chunk)
      : undefined;
    const head = new AnswerHead();
    return { ...output, stdout: keep(head, next), head };
  }
}

function requireWritable(directory: string): void {
  try {
    Deno.removeSync(Deno.makeTempFileSync({ dir: directory }));
  } catch (error) {
    throw new InputError(
      `the output must go to a directory in which files can be made, and ${
        JSON.stringify(directory)
      } is none: ${reason(error)}`,
      EXIT.noInput,
      { cause: error },
    );
  }
}

/** A file that is created with the first byte; existing ones are appended to. */
class LazyFile {
  readonly #name: () => Promise<string>;
  #path = "";
  #file: Deno.FsFile | undefined;
  #fault: string | undefined;

  /** @param name gives its path, when it is needed */
  constructor(name: () => Promise<string>) {
    this.#name = name;
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (this.#fault !== undefined) return;
    try {
      this.#file ??= await this.#open();
      for (let sent = 0; sent < chunk.length;) {
        sent += await this.#file.write(chunk.subarray(sent));
      }
    } catch (error) {
      this.#fault = `the output file "${this.#path}" cannot be written: ${
        error instanceof Error ? error.message : error
      }`;
    }
  }

  async #open(): Promise<Deno.FsFile> {
    this.#path = await this.#name();
    return await Deno.open(this.#path, { append: true, create: true });
  }

  /** @returns what went wrong, if anything */
  // deno-lint-ignore require-await
  async close(): Promise<string | undefined> {
    this.#file?.close();
    return this.#fault;
  }
}

/** Longest name for an id in bytes: systems take 255, with attempt and stream. */
const MAX_NAME_BYTES = 200;

/**
 * A name without separators, leading dots or control characters. A long one is cut, and a hash of
 * the whole takes the place of the rest; no id has a "+" in its name.
 */
async function fileNameOf(id: Uint8Array): Promise<string> {
  const safe = Array.from(id, (byte) => String.fromCharCode(byte)).join("")
    .replace(/[^A-Za-z0-9_.!~'()-]|^\./g, (byte) => {
      return `%${byte.charCodeAt(0).toString(16).padStart(2, "0").toUpperCase()}`;
    });
  if (safe.length <= MAX_NAME_BYTES) return safe;
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", id.slice()));
  const suffix = `+${toHex(hash.subarray(0, 16))}`;
  return safe.slice(0, MAX_NAME_BYTES - suffix.length) + suffix;
}

function keep(tail: { push(chunk: Uint8Array): void }, next?: Sink): Sink {
  return async (chunk) => {
    tail.push(chunk);
    await next?.(chunk);
  };
}
