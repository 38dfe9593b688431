/** The work queues in a table that can be sorted and filtered. */
import { memo } from "./memo.ts";
import { useMemo, useRef, useState } from "preact/hooks";
import type { Overview } from "../../observe/board.ts";
import { escapeControls } from "../../observe/log.ts";
import { age, count, inOrder, plural, rate } from "./format.ts";
import { deadIn, delayedIn, type Family, live } from "./live.ts";
import { hrefOf } from "./route.ts";
import { Badge, Sparkline } from "./ui.tsx";

/** Rows that are shown at once; more on demand. */
const PAGE = 200;

/** How the list is sorted: anew each time that somebody asks for it. */
interface Sort {
  readonly column: Column;
  readonly version: number;
}

type Column = "name" | "ready" | "unacked" | "delayed" | "dead" | "in" | "out" | "consumers";

/** What the columns are sorted by. */
export const VALUE: Readonly<Record<Exclude<Column, "name">, (family: Family) => number>> = {
  ready: ({ work }) => work?.ready ?? 0,
  unacked: ({ work }) => work?.unacked ?? 0,
  delayed: delayedIn,
  dead: deadIn,
  in: ({ work }) => work?.rates?.in ?? 0,
  out: ({ work }) => work?.rates?.out ?? 0,
  consumers: ({ work }) => work?.consumers ?? 0,
};

const HEADS: readonly [Column, string, string][] = [
  ["name", "Queue", ""],
  ["ready", "Waiting", "Tasks that wait to be taken"],
  ["unacked", "Running", "Tasks that consumers have and have not settled"],
  ["delayed", "Delayed", "Tasks that wait for their time"],
  ["dead", "Dead", "Tasks that were given up"],
  ["in", "In / s", "Tasks that come, a second"],
  ["out", "Out / s", "Tasks that are taken, a second"],
  ["consumers", "Consumers", ""],
];

interface TableProps {
  readonly overview: Overview;
  /** At least one. */
  readonly families: ReadonlyMap<string, Family>;
}

export function QueueTable({ overview, families }: TableProps) {
  const [filter, setFilter] = useState("");
  const [sort, setSort] = useState<Sort>({ column: "name", version: 0 });
  const [shown, setShown] = useState(PAGE);
  const told = toldBy(overview);
  const order = useOrder(families, sort);
  const wanted = filter.trim().toLowerCase();
  const rows = order.filter(({ name }) => name.toLowerCase().includes(wanted));
  return (
    <section class="card" aria-label="Queues">
      <div class="toolbar">
        <Filter value={filter} onInput={setFilter} />
        <span class="muted">
          {rows.length === order.length
            ? plural(order.length, "queue")
            : `${count(rows.length)} of ${plural(order.length, "queue")}`}
        </span>
      </div>
      <div class="scroll">
        <table class="queues">
          <Heads
            told={told}
            sorted={sort.column}
            onSort={(column) => setSort(({ version }) => ({ column, version: version + 1 }))}
          />
          <tbody>
            {rows.slice(0, shown).map((family) => (
              <Row
                key={family.key}
                family={family}
                showsVhost={overview.vhosts.length > 1}
                told={told}
                second={Math.floor(live.now() / 1_000)}
              />
            ))}
          </tbody>
        </table>
      </div>
      {rows.length > shown && (
        <div class="toolbar">
          <button type="button" onClick={() => setShown(shown + PAGE)}>
            Show {count(Math.min(PAGE, rows.length - shown))} more
          </button>
        </div>
      )}
      {rows.length === 0 && <p class="none">No queue has &#x201c;{filter}&#x201d; in its name.</p>}
    </section>
  );
}

function Filter({ value, onInput }: { value: string; onInput: (text: string) => void }) {
  return (
    <input
      type="search"
      placeholder="Filter queues"
      aria-label="Filter queues by name"
      value={value}
      onInput={({ currentTarget }) => onInput(currentTarget.value)}
    />
  );
}

interface HeadsProps {
  readonly told: ReadonlySet<string>;
  readonly sorted: Column;
  readonly onSort: (column: Column) => void;
}

function Heads({ told, sorted, onSort }: HeadsProps) {
  const orderOf = (column: Column) => column === "name" ? "ascending" : "descending";
  return (
    <thead>
      <tr>
        {HEADS.filter(([column]) => told.has(column)).map(([column, label, title]) => (
          <th
            key={column}
            scope="col"
            class={column === "name" ? "" : "number"}
            aria-sort={sorted === column ? orderOf(column) : undefined}
          >
            <button
              type="button"
              class="sort"
              title={title || undefined}
              onClick={() => onSort(column)}
            >
              {label}
            </button>
          </th>
        ))}
        {told.has("past") && (
          <>
            <th scope="col" class="wide-only number">Oldest</th>
            <th scope="col" class="wide-only">5 minutes</th>
          </>
        )}
      </tr>
    </thead>
  );
}

/** The columns that this broker has something for. */
function toldBy(overview: Overview): ReadonlySet<string> {
  return new Set([
    "name",
    "ready",
    "delayed",
    "dead",
    "consumers",
    ...(overview.unacked === undefined ? [] : ["unacked"]),
    ...(overview.rates === undefined ? [] : ["in", "out"]),
    ...(overview.can.includes("browse") ? ["past"] : []),
  ]);
}

/**
 * Nothing moves by itself: the order is made when it is asked for, and what comes later is added at
 * the end.
 */
function useOrder(
  families: ReadonlyMap<string, Family>,
  { column, version }: Sort,
): Family[] {
  const order = useRef<string[]>([]);
  useMemo(() => {
    const all = [...families.values()].sort((one, other) => inOrder(one.name, other.name));
    if (column !== "name") all.sort((one, other) => VALUE[column](other) - VALUE[column](one));
    order.current = all.map(({ key }) => key);
  }, [column, version]);
  const known = new Set(order.current);
  for (const key of families.keys()) if (!known.has(key)) order.current.push(key);
  return order.current.flatMap((key) => families.get(key) ?? []);
}

interface RowProps {
  readonly family: Family;
  readonly showsVhost: boolean;
  readonly told: ReadonlySet<string>;
  /** Of the broker's clock: ages grow. */
  readonly second: number;
}

const Row = memo(({ family, showsVhost, told }: RowProps) => {
  const { vhost, name, work } = family;
  const href = (tab: string) => hrefOf({ view: "queue", vhost, name, tab });
  const [delayed, dead] = [delayedIn(family), deadIn(family)];
  const oldest = work?.oldestAt === undefined ? undefined : live.now() - work.oldestAt;
  return (
    <tr>
      <th scope="row">
        <a href={href("waiting")}>{escapeControls(name)}</a>
        {showsVhost && vhost !== "/" && <span class="muted vhost">{escapeControls(vhost)}</span>}
        {work?.paused && <Badge tone="paused">paused</Badge>}
      </th>
      <td class="number" data-label="Waiting">{work ? count(work.ready) : "\u2013"}</td>
      {told.has("unacked") && (
        <td class="number" data-label="Running">
          {work?.unacked === undefined ? "\u2013" : count(work.unacked)}
        </td>
      )}
      <td class={delayed > 0 ? "number" : "number zero"} data-label="Delayed">
        {delayed > 0 ? <a href={href("delayed")}>{count(delayed)}</a> : 0}
      </td>
      <td class={dead > 0 ? "number alert" : "number zero"} data-label="Dead">
        {dead > 0 ? <a href={href("dead")}>{count(dead)}</a> : 0}
      </td>
      {told.has("in") && (
        <>
          <td class="number" data-label="In / s">{work?.rates ? rate(work.rates.in) : "\u2013"}</td>
          <td class="number" data-label="Out / s">
            {work?.rates ? rate(work.rates.out) : "\u2013"}
          </td>
        </>
      )}
      <td
        class={work?.consumers === 0 && work.ready > 0 ? "number warn" : "number"}
        data-label="Consumers"
      >
        {work ? count(work.consumers) : "\u2013"}
      </td>
      {told.has("past") && (
        <>
          <td class="wide-only number">{oldest === undefined ? "" : age(oldest)}</td>
          <td class="wide-only">
            {work?.trend && (
              <Sparkline
                values={[...work.trend, work.ready]}
                label={`${escapeControls(name)} over five minutes`}
              />
            )}
          </td>
        </>
      )}
    </tr>
  );
}, (before, after) =>
  isSame(before.family, after.family) &&
  (after.family.work?.oldestAt === undefined || before.second === after.second));

function isSame(one: Family, other: Family): boolean {
  return one.work === other.work && one.dead === other.dead &&
    one.delays.length === other.delays.length &&
    one.delays.every((queue, index) => queue === other.delays[index]);
}
