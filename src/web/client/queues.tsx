/** All work queues, with what is around each. */
import type { Overview } from "../../observe/board.ts";
import { Charts } from "./chart.tsx";
import { count, rate } from "./format.ts";
import { useHistory } from "./history.ts";
import { deadIn, delayedIn, type Family, live, useLive } from "./live.ts";
import { QueueTable, VALUE } from "./queue_table.tsx";
import { SendButton } from "./send.tsx";
import { Empty, Stat } from "./ui.tsx";

export function QueuesView() {
  const { families, overview } = useLive();
  const history = useHistory("/history", (answer) => answer, () => ({
    ready: waitingIn(live.families),
    rates: live.overview?.rates,
  }));
  if (overview === undefined) return null;
  return (
    <>
      <div class="view-head">
        <h1 tabIndex={-1}>Queues</h1>
        <div class="actions">{overview.can.includes("send") && <SendButton />}</div>
      </div>
      <Totals overview={overview} families={[...families.values()]} />
      {families.size > 0 && <Charts history={history} tellsRates={overview.rates !== undefined} />}
      {families.size === 0
        ? (
          <Empty title="There are no queues yet" command="new_task Hello...">
            A queue is made by the first task that is sent to it, or by the first worker.
          </Empty>
        )
        : <QueueTable overview={overview} families={families} />}
    </>
  );
}

function waitingIn(families: ReadonlyMap<string, Family>): number {
  return [...families.values()].reduce((sum, { work }) => sum + (work?.ready ?? 0), 0);
}

function Totals({ overview, families }: { overview: Overview; families: readonly Family[] }) {
  const sum = (read: (family: Family) => number) =>
    families.reduce((total, family) => total + read(family), 0);
  const dead = sum(deadIn);
  return (
    <dl class="stats">
      <Stat label="Waiting" value={count(sum(VALUE.ready))} />
      {overview.unacked !== undefined && <Stat label="Running" value={count(sum(VALUE.unacked))} />}
      <Stat label="Delayed" value={count(sum(delayedIn))} />
      <Stat label="Dead" value={count(dead)} tone={dead > 0 ? "alert" : undefined} />
      {overview.rates && (
        <>
          <Stat label="In" value={rate(overview.rates.in)} unit="/s" />
          <Stat label="Out" value={rate(overview.rates.out)} unit="/s" />
        </>
      )}
      <Stat label="Consumers" value={count(sum(VALUE.consumers))} />
    </dl>
  );
}
