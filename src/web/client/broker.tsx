/** How the broker itself is: alarms, memory, disk. */
import type { Overview } from "../../observe/board.ts";
import { bytes, count, duration, milliseconds } from "./format.ts";
import { useLive } from "./live.ts";
import { Stat } from "./ui.tsx";

export function BrokerView() {
  const { overview } = useLive();
  if (overview === undefined) return null;
  const { product, version, uptimeMs, alarm, connections } = overview;
  return (
    <>
      <div class="view-head">
        <div>
          <h1 tabIndex={-1}>Broker</h1>
          <p class="muted">{product} {version}</p>
        </div>
      </div>
      <dl class="stats">
        <Stat
          label="Alarms"
          value={alarm === undefined ? "none" : "blocked"}
          tone={alarm === undefined ? undefined : "alert"}
        />
        {uptimeMs !== undefined && <Stat label="Up" value={duration(uptimeMs)} />}
        {connections !== undefined && <Stat label="Connections" value={count(connections)} />}
        <Stat label="Queues" value={count(overview.queues)} />
      </dl>
      {overview.memory && <Memory memory={overview.memory} />}
      <Disk overview={overview} />
      <p class="muted">
        {overview.can.includes("metrics") && (
          <>
            Numbers for Prometheus are at <a href="metrics">/metrics</a>.{" "}
          </>
        )}
        The API is described at <a href="api/v1/openapi.json">/api/v1/openapi.json</a>.
      </p>
    </>
  );
}

function Memory({ memory }: { memory: NonNullable<Overview["memory"]> }) {
  const { resident, messages, messagesLimit } = memory;
  return (
    <>
      <h2>Memory</h2>
      <dl class="stats">
        <Stat label="Process" value={bytes(resident)} />
        {messages !== undefined && <Stat label="Waiting tasks in memory" value={bytes(messages)} />}
        {messagesLimit !== undefined && (
          <Stat label="At most" value={bytes(messagesLimit)} tone="quiet" />
        )}
      </dl>
    </>
  );
}

function Disk({ overview: { disk, commits } }: { overview: Overview }) {
  if (!disk && !commits) return null;
  return (
    <>
      <h2>Disk</h2>
      <dl class="stats">
        {disk && <Stat label="Free" value={bytes(disk.free)} />}
        {commits && (
          <>
            <Stat label="Commits" value={count(commits.count)} />
            <Stat label="A commit takes" value={milliseconds(commits.meanMs)} />
            <Stat label="The last one" value={milliseconds(commits.lastMs)} />
            <Stat label="The slowest" value={milliseconds(commits.slowestMs)} />
          </>
        )}
      </dl>
    </>
  );
}
