/** Who is connected to the broker. */
import type { ConnectionInfo } from "../../observe/board.ts";
import { escapeControls } from "../../observe/log.ts";
import { ask, get } from "./api.ts";
import { count, duration, plural } from "./format.ts";
import { Badge, desk, Empty, ListCard, useAsked } from "./ui.tsx";

export function ConnectionsView() {
  const { value, error, again } = useAsked(
    () => get<{ connections: ConnectionInfo[] }>("/connections"),
    [],
  );
  const list = value?.connections;
  return (
    <>
      <div class="view-head">
        <h1 tabIndex={-1}>Connections</h1>
      </div>
      <ListCard
        label="Connections"
        said={list && plural(list.length, "connection")}
        again={again}
        error={error}
      >
        {list?.length === 0 && (
          <Empty
            title="Nobody is connected"
            command="worker -- ./handle.sh"
          />
        )}
        {list && list.length > 0 && <Table connections={list} again={again} />}
      </ListCard>
    </>
  );
}

function Table(
  { connections, again }: { connections: readonly ConnectionInfo[]; again: () => void },
) {
  return (
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
          {connections.slice(0, 1_000).map((connection) => (
            <Row
              key={connection.id}
              connection={connection}
              onClose={() => askToClose(connection, again)}
            />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function askToClose({ id, client, address, unacked }: ConnectionInfo, again: () => void): void {
  desk.ask({
    title: "Close this connection?",
    text: `${
      escapeControls(client) || "The client"
    } at ${address} is told so and may connect again. ${
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

function Row({ connection, onClose }: { connection: ConnectionInfo; onClose: () => void }) {
  const { client, blocked, address, user, sinceMs, channels, consumers, unacked } = connection;
  return (
    <tr>
      <th scope="row">
        {escapeControls(client) || "unknown"} {blocked && <Badge tone="paused">blocked</Badge>}
      </th>
      <td data-label="Address">{address}</td>
      <td data-label="User">{user}</td>
      <td class="number" data-label="Since">{duration(sinceMs)}</td>
      <td class="number" data-label="Channels">{count(channels)}</td>
      <td class="number" data-label="Consumers">{countOf(consumers)}</td>
      <td class="number" data-label="Running">{countOf(unacked)}</td>
      <td class="number">
        <button
          type="button"
          class="danger"
          aria-label={`Close the connection from ${address}`}
          onClick={onClose}
        >
          Close&#x2026;
        </button>
      </td>
    </tr>
  );
}

/** What a broker does not tell is no zero. */
function countOf(value: number | undefined): string {
  return value === undefined ? "\u2013" : count(value);
}
