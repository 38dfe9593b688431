/** How brokers do when something grows. */
import { bulkRate, column, countFor, type Entrant, rowsOf, WHY } from "./brokers.ts";
import { LOAD } from "./clients.ts";
import type { Cell, Lab } from "./lab.ts";
import type { Load, Mode } from "./stores.ts";
import type { Row, Table } from "./table.ts";

/** Bytes of bodies that are on their way at most. */
const WINDOW_BYTES = 16_000_000;

/** A step of the backlog may take so much longer than another point. */
const BACKLOG_PATIENCE = 1.5;

const WHY_LARGE = "SQLite, in ours, writes a large body in pages, first to its log and then to " +
  "its file.";

const WHY_FEW =
  "A thousand tasks are all on their way at once, and there within 50 ms: at that size " +
  "the number is no rate.";

const NOTE = "One round a point. Both axes are logarithmic.";

/** Fills a queue step by step; nobody takes anything out of it. */
export async function backlogTables(
  lab: Lab,
  entrants: readonly Entrant[],
): Promise<readonly Table[]> {
  const { backlogs } = lab.sizes;
  const rates: Row[] = [];
  const memory: Row[] = [];
  for (const { kind, store } of entrants) {
    const cells: { rate: Cell[]; memory: Cell[] } = { rate: [], memory: [] };
    let before = 0;
    let rate = Infinity;
    let stopped: Cell | undefined;
    if (typeof store !== "string") await store.fresh("backlog").catch(() => {});
    for (const backlog of backlogs) {
      const what = `backlog ${backlog}, ${kind.name}`;
      const patience = BACKLOG_PATIENCE * lab.sizes.pointMs;
      stopped ??= tooLong((backlog - before) / rate, patience);
      const cell = stopped ?? await lab.measure(what, async (signal) => {
        if (typeof store === "string") throw new Error(store);
        const load = { queue: "backlog", count: backlog - before, ...LOAD };
        return await store.rate("publish", load, signal);
      }, patience);
      cells.rate.push(cell);
      before = backlog;
      if ("missing" in cell) {
        stopped = cell;
        cells.memory.push(cell);
        continue;
      }
      rate = cell.value;
      cells.memory.push(
        await lab.measure(`${what}, MB`, () => (store as { memory(): Promise<number> }).memory()),
      );
    }
    // The next tables do not pay for it.
    if (typeof store !== "string") await store.fresh("backlog").catch(() => {});
    rates.push({ name: kind.name, cells: cells.rate });
    memory.push({ name: kind.name, cells: cells.memory });
  }
  const chart = { kind: "lines", x: backlogs, xTitle: "tasks in the queue" } as const;
  return [{
    id: "backlog",
    title: "Growing backlog: publish+confirm",
    text: `Tasks of ${LOAD.size} bytes to a queue that nobody reads: the rate of what brings it ` +
      `from one size to the next. ${NOTE}`,
    unit: "tasks a second",
    columns: backlogs.map((size) => ({ title: size.toLocaleString("en-US"), better: "more" })),
    rows: rates,
    chart,
    why: { ...WHY, RabbitMQ: `${WHY.RabbitMQ} ${WHY_FEW}` },
  }, {
    id: "backlog_memory",
    title: "Growing backlog: memory",
    text: `Resident memory of the broker at these sizes. ${NOTE}`,
    unit: "MB",
    columns: backlogs.map((size) => ({ title: size.toLocaleString("en-US"), better: "less" })),
    rows: memory,
    chart,
    why: {
      beanstalkd: "It has no engine; its memory grows with every job.",
      Redis: "It has no engine; its memory grows with every task.",
      RabbitMQ: "It keeps less of a queue in memory.",
    },
  }];
}

/** A step that would not come to its end is not begun. */
function tooLong(seconds: number, mostMs: number): Cell | undefined {
  if (seconds * 1_000 <= mostMs) return undefined;
  return { missing: `would take ${Math.round(seconds / 60)} minutes` };
}

export async function bodyTable(lab: Lab, entrants: readonly Entrant[]): Promise<Table> {
  const { bodies } = lab.sizes;
  return await curve(lab, entrants, {
    id: "body",
    title: "Growing bodies: publish+confirm",
    text: "Tasks of 10 bytes to 10 MB, at most 1,000 or 16 MB on their way.",
    xs: bodies,
    xTitle: "bytes of a body",
    label: bytesText,
    why: {
      RabbitMQ: `${WHY.RabbitMQ} ${WHY_LARGE}`,
      Redis: `${WHY.Redis} It appends a large body to one file. ${WHY_LARGE}`,
      beanstalkd: `beanstalkd appends a body to one file. ${WHY_LARGE}`,
    },
    run: (size, { kind }) => ({
      mode: "publish",
      queue: "body",
      size,
      count: Math.max(5, Math.min(countFor(lab, kind), Math.floor(lab.sizes.bodyBytes / size))),
      window: Math.max(1, Math.min(LOAD.window, Math.floor(WINDOW_BYTES / size))),
    }),
  });
}

export async function workersTable(lab: Lab, entrants: readonly Entrant[]): Promise<Table> {
  return await curve(lab, entrants, {
    id: "workers",
    title: "More workers on one queue: consume+ack",
    text: "Consumers with a connection each share a queue, 64 tasks in the hands of all of them.",
    xs: lab.sizes.workers,
    xTitle: "workers",
    run: (spread, { kind }) => ({
      mode: "consume",
      queue: "workers",
      size: LOAD.size,
      count: countFor(lab, kind),
      window: 64,
      spread,
    }),
  });
}

export async function connectionsTable(lab: Lab, entrants: readonly Entrant[]): Promise<Table> {
  return await curve(lab, entrants, {
    id: "connections",
    title: "More connections: publish+confirm",
    text:
      "Publishers with a connection each share a load, 1,000 tasks on their way of all of them.",
    xs: lab.sizes.connections,
    xTitle: "connections",
    run: (spread, { kind }) => ({
      mode: "publish",
      queue: "connections",
      count: countFor(lab, kind),
      ...LOAD,
      spread,
    }),
  });
}

export async function queuesTable(lab: Lab, entrants: readonly Entrant[]): Promise<Table> {
  return await curve(lab, entrants, {
    id: "queues",
    title: "More queues: publish+confirm",
    text:
      "One publisher sends to so many durable queues in turn (RabbitMQ: classic ones; a quorum " +
      "queue is a Raft group each). Declaring them is in the time that a point may take, and not in " +
      "the rate.",
    xs: lab.sizes.queues,
    xTitle: "queues",
    run: (spread, { kind }) => ({
      mode: "queues",
      queue: `queues${spread}`,
      count: countFor(lab, kind),
      ...LOAD,
      spread,
    }),
  });
}

interface Curve {
  readonly id: string;
  readonly title: string;
  readonly text: string;
  readonly xs: readonly number[];
  readonly xTitle: string;
  readonly label?: (x: number) => string;
  /** Why others may be ahead, beside what holds anyway. */
  readonly why?: Readonly<Record<string, string>>;
  run(x: number, entrant: Entrant): Load & { readonly mode: Mode };
}

async function curve(lab: Lab, entrants: readonly Entrant[], spec: Curve): Promise<Table> {
  const columns: Cell[][] = [];
  for (const x of spec.xs) {
    columns.push(
      await column(lab, `${spec.id} ${x}`, 1, entrants, (store, kind, signal) => {
        const { mode, ...load } = spec.run(x, { kind, store });
        return bulkRate(store, mode, load, signal);
      }),
    );
  }
  const label = spec.label ?? ((x: number) => x.toLocaleString("en-US"));
  return {
    id: spec.id,
    title: spec.title,
    text: `${spec.text} ${NOTE}`,
    unit: "tasks a second",
    columns: spec.xs.map((x) => ({ title: label(x), better: "more" })),
    rows: rowsOf(entrants, columns),
    chart: { kind: "lines", x: spec.xs, xTitle: spec.xTitle },
    why: { ...WHY, ...spec.why },
  };
}

function bytesText(bytes: number): string {
  if (bytes >= 1_000_000) return `${bytes / 1_000_000} MB`;
  return bytes >= 1_000 ? `${bytes / 1_000} KB` : `${bytes} B`;
}
