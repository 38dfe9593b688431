/** Brokers against each other: rates, latency, start and memory. */
import { type Contestant, median } from "../measure.ts";
import { type Cell, type Lab, medianCell, reasonOf } from "./lab.ts";
import { LOAD } from "./clients.ts";
import type { Kind, Load, Mode, Store } from "./stores.ts";
import type { Row, Table } from "./table.ts";

/** A broker of the report: running, or the reason why it is not. */
export interface Entrant {
  readonly kind: Kind;
  readonly store: Store | string;
}

export const WHY = {
  Redis:
    "Redis keeps the whole stream in memory, syncs once for all commands it has read in a turn, and " +
    "a command names a key where AMQP has routing, headers and a publisher's confirm.",
  RabbitMQ: "RabbitMQ works on both cores at the same time; our broker has one event loop.",
  beanstalkd: "beanstalkd is a small C program, whose protocol has one line for a job.",
};

/** Cells of a table whose rows are brokers: a broker that is not there says why. */
export async function column(
  lab: Lab,
  what: string,
  rounds: number,
  entrants: readonly Entrant[],
  run: (store: Store, kind: Kind, signal: AbortSignal) => Promise<number>,
): Promise<Cell[]> {
  return await lab.inTurn(
    what,
    rounds,
    entrants.map(({ kind, store }) => ({
      name: kind.name,
      run: (signal) => {
        if (typeof store === "string") return Promise.reject(new Error(store));
        return run(store, kind, signal);
      },
    })),
  );
}

/** Rows from columns. */
export function rowsOf(entrants: readonly Entrant[], columns: readonly Cell[][]): Row[] {
  return entrants.map(({ kind }, i) => ({
    name: kind.name,
    cells: columns.map((cells) => cells[i]!),
  }));
}

/** How much of a load is for this broker. */
export function countFor(lab: Lab, kind: Kind): number {
  return kind.isSlow ? lab.sizes.slowBulk : lab.sizes.bulk;
}

/** Publishes to a fresh queue; for `consume`, takes what it has published. @returns tasks a second */
export async function bulkRate(
  store: Store,
  mode: Mode,
  load: Load,
  signal: AbortSignal,
): Promise<number> {
  await store.fresh(load.queue);
  if (mode === "consume") await store.rate("publish", { ...load, spread: 1 }, signal);
  return await store.rate(mode, load, signal);
}

export async function ratesTable(lab: Lab, entrants: readonly Entrant[]): Promise<Table> {
  const { rounds, bulk, slowBulk } = lab.sizes;
  const columns: Cell[][] = [];
  for (const mode of ["publish", "consume"] as const) {
    columns.push(
      await column(lab, `${mode} in bulk`, rounds, entrants, (store, kind, signal) => {
        const load = { queue: "rates", count: countFor(lab, kind), ...LOAD };
        return bulkRate(store, mode, load, signal);
      }),
    );
  }
  return {
    id: "brokers",
    title: "Brokers in bulk",
    text: `${bulk.toLocaleString("en-US")} tasks of ${LOAD.size} bytes ` +
      `(${slowBulk.toLocaleString("en-US")} for beanstalkd), each confirmed when it is on disk, ` +
      `${
        LOAD.window.toLocaleString("en-US")
      } on their way, then consumed and each acknowledged. RabbitMQ: quorum queues, ` +
      "one node. The client of the AMQP brokers is amqp091-go; of Redis it is redis from npm " +
      "(XADD, XREADGROUP, XACK), of beanstalkd a program of the bench. The clients run in the same " +
      `machine and share its cores. ${rounds} rounds. Redis also by its own \`redis-benchmark\`, ` +
      "which decodes next to nothing. amqp091-go itself takes longer for a task than our broker: " +
      "`deno task bench broker` shows what it reaches at a broker that keeps nothing, and what a " +
      "program in C reaches that has its messages encoded before.",
    unit: "tasks a second",
    columns: [
      { title: "publish+confirm /s", better: "more" },
      { title: "consume+ack /s", better: "more" },
    ],
    rows: [...rowsOf(entrants, columns), await redisBenchmarkRow(lab)],
    chart: { kind: "bars", column: 0 },
    why: WHY,
  };
}

async function redisBenchmarkRow(lab: Lab): Promise<Row> {
  const { redisMissing, redisRate } = await import("../redis.ts");
  const cells: Cell[] = [];
  for (let round = 0; round < lab.sizes.rounds; round++) {
    cells.push(
      await lab.measure("XADD by redis-benchmark", () => {
        if (redisMissing !== undefined) throw new Error(redisMissing);
        return redisRate(lab.folder, lab.sizes.bulk);
      }),
    );
  }
  return {
    name: "Redis by redis-benchmark",
    cells: [medianCell(cells), { missing: "-" }],
  };
}

export async function latencyTable(
  lab: Lab,
  entrants: readonly Entrant[],
  state: "idle" | "load",
): Promise<Table> {
  const { samples } = lab.sizes;
  const titles = ["send to start", "confirm to start"].flatMap((way) =>
    ["p50", "p99"].map((part) => `${way}, ${part} ms`)
  );
  const rows: Row[] = [];
  for (const { kind, store } of entrants) {
    let found: readonly number[] = [];
    const cell = await lab.measure(`latency, ${state}, ${kind.name}`, async (signal) => {
      if (typeof store === "string") throw new Error(store);
      await store.fresh("latency");
      const [waitHalf, waitMost, half, most] = state === "load"
        ? await underLoad(lab, kind, store, signal)
        : await store.latency("latency", samples, signal);
      found = [half!, most!, waitHalf!, waitMost!];
      return half!;
    });
    const cells = titles.map((_, i): Cell => "value" in cell ? { value: found[i]! } : cell);
    rows.push({ name: kind.name, cells });
  }
  return {
    id: `latency_${state}`,
    title: state === "idle" ? "Latency, idle" : "Latency under load",
    text:
      `${
        samples.toLocaleString("en-US")
      } tasks one after the other to a consumer that waits, both in one process of ` +
      "the same language for all (src/amqp, redis of npm, a socket for beanstalkd). Milliseconds " +
      "from the send, and from the confirm, to the start of the work: 0 where the work began before " +
      "the sender had its confirm." +
      (state === "load"
        ? " Meanwhile another client publishes to four other queues, with " +
          `${LOADED_WINDOW} tasks on their way: as fast as each broker takes them, which differs.`
        : ""),
    unit: "milliseconds",
    columns: titles.map((title) => ({ title, better: "less" })),
    rows,
    chart: { kind: "bars", column: 1 },
    why: state === "load" ? { ...WHY, beanstalkd: WHY_LOAD, Redis: WHY_LOAD } : WHY,
  };
}

const WHY_LOAD = "Its own load differs: see the rates above.";

/** Tasks on their way of the load beside which latency is measured. */
const LOADED_WINDOW = 100;

async function underLoad(
  lab: Lab,
  kind: Kind,
  store: Store,
  signal: AbortSignal,
): Promise<readonly number[]> {
  const ended = new AbortController();
  await store.fresh("latency");
  const count = countFor(lab, kind);
  const load = { queue: "latency", count, window: LOADED_WINDOW, size: LOAD.size, spread: 4 };
  const both = AbortSignal.any([signal, ended.signal]);
  const loading = (async () => {
    // To queues of its own, again and again until the measurement is over.
    while (!both.aborted) await store.rate("queues", load, both);
  })();
  let failure: unknown;
  loading.catch((error) => failure = ended.signal.aborted ? undefined : error);
  try {
    const found = await store.latency("latency", lab.sizes.samples, signal);
    if (failure !== undefined) throw failure;
    return found;
  } finally {
    ended.abort();
    await loading.catch(() => {});
  }
}

/** Start and idle memory of brokers. Starts them again and again, apart from the running ones. */
export async function startTable(lab: Lab, kinds: readonly Kind[]): Promise<Table> {
  const memory = kinds.map((): number[] => []);
  const contestants: Contestant<number>[] = kinds.map((kind, i) => ({
    name: kind.name,
    run: async () => {
      if (kind.missing !== undefined) throw new Error(kind.missing);
      const began = performance.now();
      await using store = await kind.start(lab.folder);
      const ms = performance.now() - began;
      memory[i]!.push(await store.memory());
      return ms;
    },
  }));
  const starts = await lab.inTurn("start", lab.sizes.rounds, contestants);
  return {
    id: "start",
    title: "Start and memory of brokers",
    text: "From the start of the process on an empty folder until it takes connections, and what " +
      `it then holds in memory. ${lab.sizes.rounds} rounds.`,
    unit: "milliseconds, MB",
    columns: [
      { title: "ready after ms", better: "less" },
      { title: "resident MB", better: "less" },
    ],
    rows: kinds.map(({ name }, i) => {
      const cell = starts[i]!;
      return { name, cells: [cell, "value" in cell ? { value: median(memory[i]!) } : cell] };
    }),
    chart: { kind: "bars", column: 1 },
    why: {
      beanstalkd: "It is a C program of some hundred kilobytes without an engine.",
      Redis: "It is a C program without an engine.",
    },
  };
}

/** Starts a broker for the tables that share it. */
export async function enter(kind: Kind, lab: Lab, running: AsyncDisposableStack): Promise<Entrant> {
  if (kind.missing !== undefined) return { kind, store: kind.missing };
  try {
    return { kind, store: running.use(await kind.start(lab.folder)) };
  } catch (error) {
    return { kind, store: reasonOf(error) };
  }
}
