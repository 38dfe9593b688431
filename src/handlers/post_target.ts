/** Where tasks are posted to: a URL with places for what differs between them. */
import { UsageError } from "../errors.ts";
import type { Task } from "../task/task.ts";

/** What may stand in a URL, and the value of a task for it. */
const PLACES = {
  queue: (task: TargetTask) => task.queue,
  type: (task: TargetTask) => task.properties.type ?? "",
} as const;

export type TargetTask = Pick<Task, "queue" | "properties">;

/** "{queue}"; URLs write braces in a path as %7B and %7D. */
const PLACE = /(?:\{|%7[Bb])([^{}%]*)(?:\}|%7[Dd])/g;

/** Dots that URLs take for "this folder" and "the folder above". */
const DOT_SEGMENT = /\/(?:\.|%2[Ee]){1,2}(?=\/|$)/;

export class PostTarget {
  /** The socket's path, for `unix:`. */
  readonly socket: string | undefined;
  /** "https://example.org:8443"; what stands before the path of a unix socket means nothing. */
  readonly origin: string;
  /** Path and query with their places. */
  readonly #template: string;

  /**
   * @param text `http://`, `https://`, or `unix:SOCKET[:PATH]` as nginx has it
   * @param source how to name the origin in an error: "--post"
   * @throws {UsageError}
   */
  constructor(text: string, source: string) {
    const [, socket, path = "/"] = /^unix:([^:]+)(?::(\/.*))?$/s.exec(text) ?? [];
    this.socket = socket;
    const url = toUrl(socket === undefined ? text : `http://localhost${path}`);
    if (url === undefined || !/^https?:\/\/[^{}]+$/.test(url.origin)) {
      throw new UsageError(
        `${source} must be http://HOST/PATH, https://HOST/PATH or unix:SOCKET:/PATH with {queue} ` +
          `and {type} in the path or the query only, and is ${JSON.stringify(text)}`,
      );
    }
    if (url.username !== "" || url.password !== "") {
      throw new UsageError(
        `${source} must be without user and password, which every user of this machine can see ` +
          "in it: --post-token-file has a token that nobody sees",
      );
    }
    this.origin = url.origin;
    this.#template = url.pathname + url.search;
    for (const [, name] of this.#template.matchAll(PLACE)) {
      if (Object.hasOwn(PLACES, name!)) continue;
      throw new UsageError(
        `${source} may have the places {queue} and {type}, and has {${name}}`,
      );
    }
  }

  get secure(): boolean {
    return this.origin.startsWith("https:");
  }

  /**
   * Path and query for a task.
   *
   * @returns undefined when a name would make the path another one ("..")
   */
  pathFor(task: TargetTask): string | undefined {
    const path = this.#template.replace(
      PLACE,
      (_, name: keyof typeof PLACES) => encodeURIComponent(PLACES[name](task).toWellFormed()),
    );
    return DOT_SEGMENT.test(path.split("?", 1)[0]!) ? undefined : path;
  }
}

function toUrl(text: string): URL | undefined {
  try {
    return new URL(text);
  } catch {
    return undefined;
  }
}
