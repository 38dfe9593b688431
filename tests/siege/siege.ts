/**
 * A siege: one attack on a broker process with a small heap, while a bystander goes on with its
 * work on the same broker. What came of it is a {@link Result}.
 */
import { memoryUnknown, peakBytes } from "../support/memory.ts";
import { spawn, spawnDeno, type TestProcess } from "../support/process.ts";
import { openPeer, type Peer, PeerGone } from "../support/protocol_peer.ts";
import { type TempDir, tempDir } from "../support/temp.ts";
import { brokerCommand, portOf, startHere } from "../broker/harness.ts";
import { concat, LOGIN, sendAll } from "../broker/strangers.ts";
import type { Report } from "./bystander.ts";

const HEAP_MB = 256;

export interface Attack {
  readonly name: string;
  /** Further arguments of the broker. */
  readonly args?: readonly string[];
  /** The broker has these users, guest with password guest among them; only guest has logged in. */
  readonly users?: readonly string[];
  /**
   * Prepares, calls {@link Siege.begin}, and attacks until {@link Siege.isOver}, or once. What it
   * leaves open is closed for it.
   */
  run(siege: Siege): Promise<void>;
}

export interface SiegeOptions {
  /** Milliseconds. */
  duration: number;
  /** Attacks make do with a fraction of what they need to hurt. */
  short: boolean;
}

export interface Result extends Report {
  /** Bytes of memory that the broker had at most, where that can be measured and it lives. */
  memory: number | undefined;
  /** The broker's words and status, when it died of it. */
  death?: string;
}

/** A client that only sends: what comes back is read and dropped, or not even read. */
export class Attacker {
  readonly #connection: Deno.Conn;
  /** Bytes that the broker sent. */
  received = 0;
  readonly ended: Promise<void>;

  constructor(connection: Deno.Conn, reads: boolean) {
    this.#connection = connection;
    this.ended = reads ? this.#read() : Promise.resolve();
  }

  async #read(): Promise<void> {
    const chunk = new Uint8Array(65_536);
    for (;;) {
      const count = await this.#connection.read(chunk).catch(() => null);
      if (count === null) return;
      this.received += count;
    }
  }

  /** Resolves when the kernel has taken them, or the connection is gone. */
  async send(...parts: Uint8Array[]): Promise<void> {
    await sendAll(this.#connection, concat(parts));
  }

  /** Reads some bytes, of one that does not read. */
  async readSome(bytes: number): Promise<void> {
    const chunk = new Uint8Array(bytes);
    await Promise.race([
      this.#connection.read(chunk).catch(() => null),
      new Promise((r) => setTimeout(r, 500)),
    ]);
  }

  close(): void {
    try {
      this.#connection.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error; // closed by the attack
    }
  }
}

export class Siege {
  readonly port: number;
  readonly pid: number;
  /** The URL of the broker's page, where it has one. */
  readonly page: string | undefined;
  readonly short: boolean;
  readonly #duration: number;
  readonly #attackers: Attacker[] = [];
  readonly #peers: Peer[] = [];
  readonly #begun = Promise.withResolvers<void>();
  readonly #over = Promise.withResolvers<void>();
  #hasBegun = false;
  #isOver = false;

  constructor(
    port: number,
    pid: number,
    page: string | undefined,
    { duration, short }: SiegeOptions,
  ) {
    this.port = port;
    this.pid = pid;
    this.page = page;
    this.short = short;
    this.#duration = duration;
  }

  /** A number of things: all of them, or what a short siege makes do with. */
  size(long: number, short: number): number {
    return this.short ? short : long;
  }

  /** A client that plays by the rules, for preparations. */
  async peer(): Promise<Peer> {
    const peer = await openPeer(this.port);
    this.#peers.push(peer);
    return peer;
  }

  /** A connection after its login. @param reads whether it reads what the broker sends */
  async attacker(reads = true): Promise<Attacker> {
    const attacker = await this.stranger(reads);
    await attacker.send(...LOGIN);
    return attacker;
  }

  /** A connection without a login. */
  stranger(reads = true): Promise<Attacker> {
    return this.#connect(this.port, reads);
  }

  /** A connection to the broker's page. */
  looker(): Promise<Attacker> {
    return this.#connect(Number(new URL(this.page!).port), true);
  }

  async #connect(port: number, reads: boolean): Promise<Attacker> {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    const attacker = new Attacker(connection, reads);
    this.#attackers.push(attacker);
    if (this.#isOver) attacker.close();
    return attacker;
  }

  /** Preparations are over: the bystander comes, and time counts. */
  begin(): void {
    this.#hasBegun = true;
    this.#begun.resolve();
  }

  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Resolves at the end. */
  get over(): Promise<void> {
    return this.#over.promise;
  }

  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  async last(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, this.#duration));
  }

  async end(): Promise<void> {
    this.#isOver = true;
    this.#over.resolve();
    for (const attacker of this.#attackers) attacker.close();
    for (const peer of this.#peers) await peer[Symbol.asyncDispose]();
  }
}

/** Runs one attack on a broker of its own. */
export async function besiege(attack: Attack, options: SiegeOptions): Promise<Result> {
  await using dir = await tempDir();
  const [command, flag, ...rest] = brokerCommand([
    ...["--port", "0", "--data", dir.file("data"), ...attack.args ?? []],
    ...attack.users === undefined ? [] : await addUsers(dir, attack.users),
  ]);
  await using broker = spawn(command, {
    args: [flag!, `--v8-flags=--max-old-space-size=${HEAP_MB}`, ...rest],
    killOnDispose: true,
  });
  const page = attack.args?.includes("--http") ? await pageOf(broker) : undefined;
  const siege = new Siege(await portOf(broker), broker.pid, page, options);
  await using bystander = spawnDeno(new URL("./bystander.ts", import.meta.url), {
    args: [`${siege.port}`, `${siege.pid}`],
    stdin: "open",
    killOnDispose: true,
  });
  await bystander.waitForLine(/^ready$/);
  const attacking = attack.run(siege).then(() => siege.begin(), (error) => {
    // An attacker whom the broker ends has done his part.
    const isDone = siege.isOver || (siege.hasBegun && error instanceof PeerGone);
    if (!isDone) throw error;
  });
  attacking.catch(() => {});
  try {
    await Promise.race([siege.begun, attacking]);
    await bystander.write("go\n");
    await siege.last();
    await bystander.endInput();
    return await resultOf(bystander, broker);
  } finally {
    await siege.end();
    await attacking;
  }
}

async function pageOf(broker: TestProcess): Promise<string> {
  const [, url] = await broker.waitForLog(/ready: .* page at ([^\s,]+)/);
  return url!;
}

/** @returns the arguments with which guest is added */
async function addUsers(dir: TempDir, users: readonly string[]): Promise<string[]> {
  for (const name of users) {
    const user = { name, password: name };
    await using _broker = await startHere({ folder: dir.file("data"), user });
  }
  await Deno.writeTextFile(dir.file("password"), "guest");
  return ["--user", "guest", "--password-file", dir.file("password")];
}

async function resultOf(bystander: TestProcess, broker: TestProcess): Promise<Result> {
  const [line] = await bystander.waitForLine(/^\{.*\}$/, 90_000);
  const report = JSON.parse(line) as Report;
  if (!broker.running) {
    const { code, signal, stderr } = await broker.ended();
    return { ...report, memory: undefined, death: `${signal ?? code}: ${stderr.slice(-500)}` };
  }
  return { ...report, memory: memoryUnknown ? undefined : peakBytes(broker) };
}
