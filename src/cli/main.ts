/** What every binary does around its story: output, errors as sentences, exit status. */
import { EXIT, ToolError } from "../errors.ts";
import { createLogger, escapeControls, type Logger } from "../observe/log.ts";
import config from "../../deno.json" with { type: "json" };

/** The version of all binaries. */
export const VERSION: string = config.version;

/** The process around a program, as arguments. */
export interface Host {
  /** Name of the binary, for messages: "new_task". */
  readonly name: string;
  readonly args: readonly string[];
  env(name: string): string | undefined;
  /** Writes to stdout at once; a closed or full stdout is reported once on stderr. */
  print(text: string): void;
  /** Writes to stderr at once. */
  complain(text: string): void;
  readonly log: Logger;
}

/**
 * Runs a binary: `run` returns the exit status; a ToolError becomes one sentence on stderr and its
 * status, anything else is a fault of ours and becomes status 70.
 *
 * Ends the process, because a connection that hangs must not keep it alive.
 */
export async function runMain(name: string, run: (host: Host) => Promise<number>): Promise<never> {
  const host = createHost(name);
  // A rejection nobody waits for must not kill a worker in the middle of its tasks. Known source:
  // the AMQP client's internal promises when a socket fails.
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    host.log.error(`an error reached nobody: ${event.reason}`);
  });
  let status: number;
  try {
    status = await run(host);
  } catch (error) {
    status = error instanceof ToolError ? error.exitCode : EXIT.internal;
    host.complain(`${name}: ${describe(error)}\n`);
  }
  Deno.exit(status);
}

/** One sentence for an error; the stack only for faults of our own. */
function describe(error: unknown): string {
  if (error instanceof ToolError) return maskPasswords(escapeControls(error.message));
  const fault = error instanceof Error ? error.stack ?? error.message : String(error);
  return `a fault in this program, please report it: ${fault}`;
}

/**
 * A second net under the redaction in amqp/url.ts: what a user typed in the wrong place may be a
 * URL, and errors quote it.
 */
function maskPasswords(text: string): string {
  return text.replace(/(\/\/[^\s:@/]*):\S*@/g, "$1:***@");
}

function createHost(name: string): Host {
  const encoder = new TextEncoder();
  let stdoutFailed = false;
  function complain(text: string): void {
    try {
      writeAll(Deno.stderr, encoder.encode(text));
    } catch {
      // Nowhere is left to say it.
    }
  }
  return {
    name,
    args: Deno.args,
    env: (variable) => Deno.env.get(variable),
    print: (text) => {
      if (stdoutFailed) return;
      try {
        writeAll(Deno.stdout, encoder.encode(text));
      } catch (error) {
        stdoutFailed = true;
        complain(`${name}: stdout cannot be written any more: ${(error as Error).message}\n`);
      }
    },
    complain,
    log: createLogger({ name, write: complain }),
  };
}

function writeAll(target: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array): void {
  for (let sent = 0; sent < bytes.length;) sent += target.writeSync(bytes.subarray(sent));
}
