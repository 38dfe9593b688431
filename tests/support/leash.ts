/**
 * A long-living process (a broker node, epmd) in a process group of its own, held on a pipe: when
 * the pipe closes, by us or because this process died in whatever way, the group is killed.
 *
 * It writes to a file instead of to us: reads pending across tests would trip deno's sanitizers.
 */
import { within } from "./wait.ts";

/** Relays signal names from the pipe to the group, and SIGKILL at the pipe's end. */
const KEEPER = `
log=$1; shift
exec 3<&0
setsid "$@" >>"$log" 2>&1 </dev/null 3<&- &
group=$!
( while read -r signal <&3; do kill -s "$signal" -- "$group"; done
  kill -s KILL -- "-$group" 2>/dev/null ) &
keeper=$!
wait "$group"
status=$?
kill "$keeper" 2>/dev/null
exit "$status"
`;

export class LeashedProcess {
  readonly #child: Deno.ChildProcess;
  readonly #leash: WritableStreamDefaultWriter<Uint8Array>;
  readonly ended: Promise<Deno.CommandStatus>;
  #running = true;

  /** @param log file that stdout and stderr are appended to */
  constructor(
    readonly name: string,
    command: readonly string[],
    options: { env: Record<string, string>; log: string },
  ) {
    // The keeper has a session of its own: what kills our whole group must leave it to tidy up.
    this.#child = new Deno.Command("setsid", {
      args: ["/bin/sh", "-c", KEEPER, "keeper", options.log, ...command],
      env: options.env,
      clearEnv: true,
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn();
    this.#child.unref();
    this.#leash = this.#child.stdin.getWriter();
    this.ended = this.#child.status.finally(() => this.#running = false);
  }

  get running(): boolean {
    return this.#running;
  }

  /** Sends a signal to the process itself, not to its group; does not wait. */
  async signal(name: "TERM" | "STOP" | "CONT"): Promise<void> {
    await this.#leash.write(new TextEncoder().encode(`${name}\n`));
  }

  /** Kills the group and waits for its end. */
  async kill(): Promise<void> {
    await this.#leash.close().catch(() => {}); // the keeper has gone with its process
    await within(`${this.name} to die`, this.ended);
  }
}
