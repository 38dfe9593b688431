/**
 * Tells the service manager that started the program how it goes: systemd with Type=notify, or
 * whoever else gives NOTIFY_SOCKET (sd_notify(3)). Loaded only then.
 */
import { reason } from "../errors.ts";
import { pause } from "../time/timer.ts";
import type { Host } from "./main.ts";

/** How often it is told how things are, unless its watchdog asks for more, in milliseconds. */
const STATUS_MS = 5_000;

/** How long the end waits until the last of it is sent, in milliseconds. */
const LAST_NEWS_MS = 1_000;

/** How the program stands. */
type State = "starting" | "ready" | "ending";

/** A socket for datagrams within this machine, of which Deno has no types as long as they may change. */
interface Datagrams {
  send(bytes: Uint8Array, to: Address): Promise<number>;
  close(): void;
}

interface Address {
  readonly transport: "unixpacket";
  readonly path: string;
}

export class ServiceManager {
  readonly #host: Host;
  readonly #describe: () => string;
  readonly #socket: Datagrams;
  readonly #to: Address;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #hasWatchdog: boolean;
  #state: State = "starting";
  /** What it was told last. */
  #status = "";
  /** All that was sent before; each waits for its turn. */
  #sent: Promise<void> = Promise.resolve();
  #failed = false;

  /**
   * @param path of its socket
   * @param describe how things are, in a few words
   * @throws Error what is given is no path, or nowhere is a place for a socket of ours
   */
  constructor(host: Host, path: string, describe: () => string) {
    if (!path.startsWith("/")) throw new Error("its socket must have a path, and has none");
    this.#host = host;
    this.#describe = describe;
    this.#to = { transport: "unixpacket", path };
    this.#socket = bind();
    const watchdogMs = readWatchdog(host);
    this.#hasWatchdog = watchdogMs !== undefined;
    // Twice in its time, as its manual has it.
    this.#timer = setInterval(() => this.#news(), Math.min(STATUS_MS, (watchdogMs ?? 1e9) / 2));
    this.#news();
  }

  /** The program does what it was started for. */
  ready(): void {
    if (this.#state !== "starting") return;
    this.#state = "ready";
    this.#news("READY=1");
  }

  /** The program ends what it does. */
  ending(): void {
    if (this.#state === "ending") return;
    this.#state = "ending";
    this.#news("STOPPING=1");
  }

  /** Nothing more is told. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.ending();
    // It may not read any more.
    await Promise.race([this.#sent, pause(LAST_NEWS_MS)]);
    this.#socket.close();
  }

  #news(...lines: string[]): void {
    if (this.#hasWatchdog) lines.push("WATCHDOG=1");
    const begin = this.#state === "ready" ? "" : `${this.#state}: `;
    const status = begin + this.#describe().replaceAll(/\s+/g, " ");
    if (status !== this.#status) lines.push(`STATUS=${status}`);
    this.#status = status;
    if (lines.length === 0) return;
    const bytes = new TextEncoder().encode(lines.join("\n") + "\n");
    this.#sent = this.#sent.then(async () => {
      try {
        await this.#socket.send(bytes, this.#to);
      } catch (error) {
        if (!this.#failed) complain(this.#host, error);
        this.#failed = true;
      }
    });
  }
}

/** A manager that hears nothing ends the program, and the log should say why. */
export function complain(host: Host, error: unknown): void {
  host.log.error("the service manager (NOTIFY_SOCKET) cannot be told how it goes", {
    error: reason(error),
  });
}

/** Milliseconds after which the manager takes a silent program for dead; undefined: never. */
function readWatchdog({ env }: Host): number | undefined {
  const ms = Number(env("WATCHDOG_USEC") || NaN) / 1_000;
  const pid = env("WATCHDOG_PID");
  return ms > 0 && (!pid || pid === String(Deno.pid)) ? ms : undefined;
}

/** Deno binds such a socket only to a path, which nobody needs once it is bound. */
function bind(): Datagrams {
  const { listenDatagram } = Deno as unknown as { listenDatagram(at: Address): Datagrams };
  const folder = Deno.makeTempDirSync({ prefix: "notify-" });
  try {
    return listenDatagram({ transport: "unixpacket", path: `${folder}/socket` });
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}
