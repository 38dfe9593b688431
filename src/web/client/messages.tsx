/** Lists of messages, which stay as they are until somebody asks for what is new. */
import { useState } from "preact/hooks";
import type { Found, MessageInfo } from "../../observe/board.ts";
import { escapeControls } from "../../observe/log.ts";
import type { QueueName } from "./api.ts";
import { bytes, count, duration } from "./format.ts";
import { MessageDialog } from "./message.tsx";
import { hrefOf } from "./route.ts";
import { Badge } from "./ui.tsx";

interface ListProps {
  readonly messages: readonly (MessageInfo | Found)[];
  /** Where they are, unless each says so. */
  readonly place?: QueueName;
  /** Keys of those that are selected; absent: none can be. */
  readonly selected?: ReadonlySet<string>;
  readonly onSelect?: (keys: ReadonlySet<string>) => void;
  /** Something was done with one. */
  readonly onDone: () => void;
}

export function MessageList({ messages, place, selected, onSelect, onDone }: ListProps) {
  const [open, setOpen] = useState<{ place: QueueName; key: string } | undefined>();
  const showsQueue = place === undefined;
  const all = messages.map(({ key }) => key);
  const isAll = all.length > 0 && all.every((key) => selected?.has(key));
  function toggle(key: string): void {
    const keys = new Set(selected);
    if (!keys.delete(key)) keys.add(key);
    onSelect!(keys);
  }
  return (
    <>
      <div class="scroll">
        <table class="messages">
          <Heads
            isAll={selected && isAll}
            onAll={() => onSelect!(new Set(isAll ? [] : all))}
            showsQueue={showsQueue}
            showsRuns={messages.some(({ running }) => running)}
          />
          <tbody>
            {messages.map((message) => {
              const at = place ?? placeOf(message as Found);
              return (
                <Row
                  key={`${at.vhost} ${at.name} ${message.key}`}
                  message={message}
                  queue={showsQueue ? at : undefined}
                  isSelected={selected?.has(message.key)}
                  onSelect={() => toggle(message.key)}
                  onOpen={() => setOpen({ place: at, key: message.key })}
                />
              );
            })}
          </tbody>
        </table>
      </div>
      {open && (
        <MessageDialog
          place={open.place}
          message={open.key}
          onClose={() => setOpen(undefined)}
          onDone={() => {
            setOpen(undefined);
            onDone();
          }}
        />
      )}
    </>
  );
}

interface HeadsProps {
  /** Whether all are selected; absent: none can be. */
  readonly isAll: boolean | undefined;
  readonly onAll: () => void;
  readonly showsQueue: boolean;
  readonly showsRuns: boolean;
}

function Heads({ isAll, onAll, showsQueue, showsRuns }: HeadsProps) {
  return (
    <thead>
      <tr>
        {isAll !== undefined && (
          <th scope="col" class="check">
            <input
              type="checkbox"
              aria-label="Select all that are shown"
              checked={isAll}
              onChange={onAll}
            />
          </th>
        )}
        <th scope="col">Task</th>
        {showsQueue && <th scope="col">Queue</th>}
        <th scope="col">Type</th>
        <th scope="col">{showsRuns ? "Runs" : "Notes"}</th>
        <th scope="col" class="number">Size</th>
      </tr>
    </thead>
  );
}

interface RowProps {
  readonly message: MessageInfo;
  /** Where it is; absent: that is said elsewhere. */
  readonly queue: QueueName | undefined;
  /** Absent: it cannot be. */
  readonly isSelected: boolean | undefined;
  readonly onSelect: () => void;
  readonly onOpen: () => void;
}

function Row({ message, queue, isSelected, onSelect, onOpen }: RowProps) {
  return (
    <tr>
      {isSelected !== undefined && (
        <td class="check">
          <input
            type="checkbox"
            aria-label={`Select ${escapeControls(message.id ?? message.key)}`}
            checked={isSelected}
            onChange={onSelect}
          />
        </td>
      )}
      <th scope="row">
        <button type="button" class="link" onClick={onOpen}>
          <span class="preview">{message.preview || "(empty)"}</span>
          <span class="id">
            {message.id === undefined ? "without an id" : escapeControls(message.id)}
          </span>
        </button>
      </th>
      {queue && (
        <td data-label="Queue">
          <a href={hrefOf({ view: "queue", ...queue, tab: "waiting" })}>
            {escapeControls(queue.name)}
          </a>
        </td>
      )}
      <td data-label="Type">
        {message.type === undefined
          ? <span class="muted">&#x2013;</span>
          : escapeControls(message.type)}
      </td>
      <td data-label="Notes">
        <Notes message={message} />
      </td>
      <td class="number" data-label="Size">{bytes(message.size)}</td>
    </tr>
  );
}

function placeOf({ vhost, queue }: Found): QueueName {
  return { vhost, name: queue };
}

function Notes({ message }: { message: MessageInfo }) {
  const { running, reason, error, redelivered, priority, attempt } = message;
  return (
    <span class="notes-cell">
      {running && (
        <span>
          {duration(running.sinceMs)}{" "}
          <span class="muted">
            by {escapeControls(running.client) || "a client"} at {running.address}
          </span>
        </span>
      )}
      {reason && <Badge tone="dead">{escapeControls(reason)}</Badge>}
      {error && <span class="error-text">{error}</span>}
      {!running && !reason && redelivered && <Badge>delivered before</Badge>}
      {attempt !== undefined && attempt > 0 && <Badge>{count(attempt)} attempts</Badge>}
      {priority > 0 && <Badge>priority {priority}</Badge>}
    </span>
  );
}
