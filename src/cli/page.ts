/** `broker --http`: the page of the broker, its API and its numbers. */
import type { Inside } from "../broker/admin/inside.ts";
import { Board } from "../broker/admin/board.ts";
import type { ListenAddress } from "../observe/http.ts";
import assets from "../web/assets.json" with { type: "json" };
import { PageService } from "../web/service.ts";
import { type Host, VERSION } from "./main.ts";
import { readTokens } from "./tokens.ts";

/** A page that is served. */
export interface Page extends AsyncDisposable {
  readonly url: string;
  /** Of this run of the broker; its API says the same. */
  readonly instance: string;
}

/** @throws {ToolError} the token file cannot be used, or nothing can listen there */
export async function servePage(
  host: Host,
  inside: Inside,
  address: ListenAddress,
  tokenFile: string | undefined,
): Promise<Page> {
  const tokens = readTokens(host, address, tokenFile);
  const board = new Board(inside);
  const service = new PageService({
    source: board,
    address,
    tokens,
    version: VERSION,
    log: host.log,
  }, assets.files);
  async function end(): Promise<void> {
    await service[Symbol.asyncDispose]();
    board[Symbol.dispose]();
  }
  try {
    const url = await service.start();
    return { url, instance: board.instance, [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    throw error;
  }
}
