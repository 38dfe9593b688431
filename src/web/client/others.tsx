/** What runs everywhere, who is connected, how the broker is, and what a search finds. */
import { useState } from "preact/hooks";
import type { ConnectionInfo, SearchPage } from "../../observe/board.ts";
import { ask, get } from "./api.ts";
import { bytes, count, duration, milliseconds, plural } from "./format.ts";
import { live, useLive } from "./live.ts";
import { MessageList } from "./messages.tsx";
import { Running } from "./queue.tsx";
import { Badge, desk, Empty, Stat, useAsked } from "./ui.tsx";

export function RunningView() {
  return (
    <>
      <div class="view-head">
        <h1 tabIndex={-1}>Running</h1>
      </div>
      <Running path="/running" />
    </>
  );
}

export function ConnectionsView() {
  const { value, error, again } = useAsked(
    () => get<{ connections: ConnectionInfo[] }>("/connections"),
    [],
  );
  const list = value?.connections;
  function close(connection: ConnectionInfo): void {
    const { id, client, address, unacked } = connection;
    desk.ask({
      title: "Close this connection?",
      text: `${client || "The client"} at ${address} is told so and may connect again. ${
        unacked === undefined || unacked === 0
          ? "What it has not settled goes back to the queues."
          : `The ${plural(unacked, "task")} that it has not settled ${
            unacked === 1 ? "goes" : "go"
          } back to the queues.`
      }`,
      action: "Close 1 connection",
      danger: true,
      act: async () => {
        await ask("DELETE", `/connections/${id}`);
        setTimeout(again, 300);
        return `The connection from ${address} was closed.`;
      },
    });
  }
  return (
    <>
      <div class="view-head">
        <h1 tabIndex={-1}>Connections</h1>
      </div>
      <section class="card" aria-label="Connections">
        <div class="toolbar">
          <span class="muted">{list && plural(list.length, "connection")}</span>
          <span class="space" />
          <button type="button" class="quiet" onClick={again}>Refresh</button>
        </div>
        {error && <p class="none error-text">{error.message}</p>}
        {list?.length === 0 && (
          <Empty
            title="Nobody is connected"
            command="worker -- ./handle.sh"
          />
        )}
        {list && list.length > 0 && (
          <div class="scroll">
            <table class="plain">
              <thead>
                <tr>
                  <th scope="col">Client</th>
                  <th scope="col">Address</th>
                  <th scope="col">User</th>
                  <th scope="col" class="number">Since</th>
                  <th scope="col" class="number">Channels</th>
                  <th scope="col" class="number">Consumers</th>
                  <th scope="col" class="number">Running</th>
                  <th scope="col">
                    <span class="unseen">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {list.slice(0, 1_000).map((connection) => (
                  <tr key={connection.id}>
                    <th scope="row">
                      {connection.client || "unknown"}{" "}
                      {connection.blocked && <Badge tone="paused">blocked</Badge>}
                    </th>
                    <td>{connection.address}</td>
                    <td>{connection.user}</td>
                    <td class="number">{duration(connection.sinceMs)}</td>
                    <td class="number">{count(connection.channels)}</td>
                    <td class="number">{countOf(connection.consumers)}</td>
                    <td class="number">{countOf(connection.unacked)}</td>
                    <td class="number">
                      <button
                        type="button"
                        class="danger"
                        aria-label={`Close the connection from ${connection.address}`}
                        onClick={() => close(connection)}
                      >
                        Close&#x2026;
                      </button>
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </section>
    </>
  );
}

/** What a broker does not tell is no zero. */
function countOf(value: number | undefined): string {
  return value === undefined ? "\u2013" : count(value);
}

export function BrokerView() {
  const { overview } = useLive();
  if (overview === undefined) return null;
  const { product, version, uptimeMs, memory, disk, alarm, commits, connections } = overview;
  return (
    <>
      <div class="view-head">
        <div>
          <h1 tabIndex={-1}>Broker</h1>
          <p class="muted">{product} {version}</p>
        </div>
      </div>
      {alarm !== undefined && (
        <p class="banner alert" role="alert">Publishers are blocked: {alarm}.</p>
      )}
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
      {memory && (
        <>
          <h2>Memory</h2>
          <dl class="stats">
            <Stat label="Process" value={bytes(memory.resident)} />
            {memory.messages !== undefined && (
              <Stat label="Waiting tasks in memory" value={bytes(memory.messages)} />
            )}
            {memory.messagesLimit !== undefined && (
              <Stat label="At most" value={bytes(memory.messagesLimit)} tone="quiet" />
            )}
          </dl>
        </>
      )}
      {(disk || commits) && (
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
      )}
      <p class="muted">
        {overview.can.includes("metrics") && (
          <>
            Numbers for Prometheus are at <a href="/metrics">/metrics</a>.{" "}
          </>
        )}
        The API is described at <a href="/api/v1/openapi.json">/api/v1/openapi.json</a>.
      </p>
    </>
  );
}

export function SearchView({ text }: { text: string }) {
  const path = `/search?q=${encodeURIComponent(text)}`;
  const { value, error, again } = useAsked(() => get<SearchPage>(path), [path]);
  const [more, setMore] = useState<SearchPage[]>([]);
  const [busy, setBusy] = useState(false);
  const pages = value === undefined ? [] : [value, ...more];
  const found = pages.flatMap(({ found }) => found);
  const looked = pages.reduce((sum, page) => sum + page.looked, 0);
  const skipped = pages.reduce((sum, page) => sum + page.skipped, 0);
  const next = pages.at(-1)?.next;
  return (
    <>
      <div class="view-head">
        <h1 tabIndex={-1}>Search for &#x201c;{text}&#x201d;</h1>
      </div>
      {!live.overview?.can.includes("search")
        ? <Empty title="This broker cannot be searched" />
        : (
          <section class="card" aria-label="What was found">
            <div class="toolbar">
              <span class="muted" role="status">
                {value === undefined && !error
                  ? "Looking\u2026"
                  : `${plural(found.length, "task")} found among ${count(looked)}${
                    skipped > 0 ? `; ${count(skipped)} larger than 1 MB were left out` : ""
                  }`}
              </span>
              <span class="space" />
              <button
                type="button"
                class="quiet"
                onClick={() => {
                  setMore([]);
                  again();
                }}
              >
                Refresh
              </button>
            </div>
            {error && <p class="none error-text">{error.message}</p>}
            {value && found.length === 0 && next === undefined && (
              <Empty title="No task has this text">
                Ids, properties, headers and bodies are looked through, as they are.
              </Empty>
            )}
            {found.length > 0 && <MessageList messages={found} onDone={again} />}
            {next !== undefined && (
              <div class="toolbar">
                <button
                  type="button"
                  disabled={busy}
                  onClick={async () => {
                    setBusy(true);
                    await desk.attempt(async () => {
                      const page = await get<SearchPage>(
                        `${path}&from=${encodeURIComponent(next)}`,
                      );
                      setMore([...more, page]);
                      return `${count(page.looked)} more were looked at.`;
                    });
                    setBusy(false);
                  }}
                >
                  Look further
                </button>
              </div>
            )}
          </section>
        )}
    </>
  );
}
