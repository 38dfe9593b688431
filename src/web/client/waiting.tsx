/** The tasks of a queue that wait, from either end. */
import { useState } from "preact/hooks";
import type { MessagePage } from "../../observe/board.ts";
import { queuePath } from "./api.ts";
import { queueOption } from "./command.ts";
import { count, plural } from "./format.ts";
import { live } from "./live.ts";
import { MessageList } from "./messages.tsx";
import { More, usePages } from "./pages.tsx";
import { askToSettle } from "./settle.ts";
import { Empty, Looking } from "./ui.tsx";

/** Tasks that are asked for at once. */
const PAGE = 50;

interface Props {
  readonly vhost: string;
  readonly name: string;
  readonly ready: number;
}

export function Waiting(props: Props) {
  if (live.overview?.can.includes("browse")) return <List {...props} />;
  return (
    <section class="card">
      <Empty title="AMQP shows no tasks without taking them">
        Dead tasks can be looked at, and all of them be counted.
      </Empty>
    </section>
  );
}

type End = "oldest" | "newest";

function List({ vhost, name, ready }: Props) {
  const [end, setEnd] = useState<End>("oldest");
  const path = queuePath({ vhost, name });
  const { pages, error, again, more } = usePages<MessagePage>(
    `${path}/messages?end=${end}&limit=${PAGE}`,
  );
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const messages = pages.flatMap(({ messages }) => messages);
  const can = live.overview?.can ?? [];
  function refresh(): void {
    setSelected(new Set());
    again();
  }
  return (
    <section class="card" aria-label="Waiting tasks">
      <div class="toolbar">
        <Ends shown={end} onChoose={setEnd} />
        <button type="button" class="quiet" onClick={refresh}>Refresh</button>
        <span class="space" />
        {selected.size > 0 && (
          <button
            type="button"
            class="danger"
            onClick={() =>
              askToSettle("drop", path, { keys: [...selected] }, selected.size, refresh)}
          >
            Drop {plural(selected.size, "task")}&#x2026;
          </button>
        )}
        <span class="muted">
          {messages.length > 0 &&
            `${count(messages.length)} of ${count(Math.max(ready, messages.length))}`}
        </span>
      </div>
      {error && <p class="none error-text">{error.message}</p>}
      {pages.length === 0 && !error && <Looking />}
      {pages.length > 0 && messages.length === 0 && (
        <Empty title="Nothing waits here" command={`new_task ${queueOption(name)} Hello...`} />
      )}
      {messages.length > 0 && (
        <MessageList
          messages={messages}
          place={{ vhost, name }}
          {...(can.includes("replay") ? { selected, onSelect: setSelected } : {})}
          onDone={refresh}
        />
      )}
      {messages.length < ready && <More label="Show more" more={more} />}
    </section>
  );
}

function Ends({ shown, onChoose }: { shown: End; onChoose: (end: End) => void }) {
  return (
    <div class="segments" role="group" aria-label="Which tasks come first">
      {(["oldest", "newest"] as const).map((end) => (
        <button
          key={end}
          type="button"
          aria-pressed={end === shown}
          onClick={() => onChoose(end)}
        >
          {end === "oldest" ? "Oldest first" : "Newest first"}
        </button>
      ))}
    </div>
  );
}
