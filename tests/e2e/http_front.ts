/** `new_task --http` under test. */
import { OpenApi } from "../support/openapi.ts";
import type { TestProcess } from "../support/process.ts";
import { start, type ToolOptions } from "./tools.ts";

/** An answer; `json` is undefined where it is none. */
export interface FrontAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // deno-lint-ignore no-explicit-any
  readonly json: any;
}

/** A running front, whose every answer is held against its own OpenAPI document. */
export class Front implements AsyncDisposable {
  readonly process: TestProcess;
  readonly url: string;
  readonly api: OpenApi;

  private constructor(process: TestProcess, url: string, api: OpenApi) {
    this.process = process;
    this.url = url;
    this.api = api;
  }

  static async start(args: readonly string[], options: ToolOptions): Promise<Front> {
    const process = start("new_task", ["--http", "0", ...args], options);
    const [, url] = await process.waitForLine(/ Taking tasks at (http:\S+)\/tasks\./);
    const document = await (await fetch(`${url}/openapi.json`)).json();
    return new Front(process, url!, await OpenApi.read(document));
  }

  get address(): { hostname: string; port: number } {
    return { hostname: "127.0.0.1", port: Number(new URL(this.url).port) };
  }

  async ask(path: string, init: RequestInit = {}): Promise<FrontAnswer> {
    const response = await fetch(this.url + path, init);
    const text = await response.text();
    const { status, headers } = response;
    this.api.check(init.method ?? "GET", path.split("?")[0]!, response, text);
    const isJson = headers.get("content-type")?.includes("json") && text !== "";
    return { status, headers, text, json: isJson ? JSON.parse(text) : undefined };
  }

  /** POST /tasks. */
  post(
    body: BodyInit | null,
    headers: Record<string, string> = {},
    query = "",
  ): Promise<FrontAnswer> {
    return this.ask(`/tasks${query}`, { method: "POST", body, headers });
  }

  /** What comes back for these bytes, to the end of the connection. */
  async raw(...pieces: readonly (string | Uint8Array<ArrayBuffer>)[]): Promise<string> {
    const conn = await Deno.connect(this.address);
    const answer = new Response(conn.readable).text();
    const writer = conn.writable.getWriter();
    for (const piece of pieces) {
      const bytes = typeof piece === "string" ? new TextEncoder().encode(piece) : piece;
      await writer.write(bytes).catch(() => {});
    }
    return await answer;
  }

  /** Ends it in order. */
  async end(): Promise<void> {
    this.process.kill("SIGTERM");
    const { code, stderr } = await this.process.ended();
    if (code !== 0) throw new Error(`new_task --http ended with ${code}:\n${stderr}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.process[Symbol.asyncDispose]();
  }
}
