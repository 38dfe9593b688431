/** The bearer tokens that a tool requires over HTTP. */
import { UsageError } from "../errors.ts";
import { SecretFile } from "../handlers/secret_file.ts";
import { isLoopbackName } from "../observe/gate.ts";
import type { ListenAddress } from "../observe/http.ts";
import type { Host } from "./main.ts";

/**
 * @returns gives the tokens that hold at this moment; undefined: nobody needs one
 * @throws {ToolError} the file cannot be used, or there must be one
 */
export function readTokens(
  host: Host,
  { hostname }: ListenAddress,
  file: string | undefined,
): (() => readonly string[]) | undefined {
  if (file !== undefined) {
    const tokens = new SecretFile(file, "the token file", parse, (said) => host.log.warn(said));
    return () => tokens.get();
  }
  if (isLoopbackName(hostname)) return undefined;
  throw new UsageError(
    `--http needs --token-file on anything but this machine, and has none for ${hostname}`,
  );
}

/**
 * The token that a tool shows to another one: the first of the file.
 *
 * @returns gives the one of this moment
 * @throws {InputError} the file cannot be used
 */
export function readToken(host: Host, file: string): () => string {
  const tokens = new SecretFile(file, "the token file", parse, (said) => host.log.warn(said));
  return () => tokens.get()[0]!;
}

/** @throws {Error} the end of a sentence */
function parse(lines: readonly string[]): readonly string[] {
  const tokens = lines.map((line) => line.trim()).filter((line) => line !== "");
  if (tokens.length > 0 && tokens.every((token) => /^[\x21-\x7e]+$/.test(token))) return tokens;
  throw new Error("must hold a token of visible ASCII on each line, and does not");
}
