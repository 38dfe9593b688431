/** The tasks of a queue that wait, from either end. */
import { useState } from "preact/hooks";
import type { ActionResult, MessagePage } from "../../observe/board.ts";
import { saidOf } from "./action_result.ts";
import { ask, get, queuePath } from "./api.ts";
import { count, plural } from "./format.ts";
import { live } from "./live.ts";
import { MessageList } from "./messages.tsx";
import { desk, Empty, useAsked } from "./ui.tsx";

/** Tasks that are asked for at once. */
const PAGE = 50;

export function Waiting({ vhost, name, ready }: { vhost: string; name: string; ready: number }) {
  const [end, setEnd] = useState<"oldest" | "newest">("oldest");
  const path = `${queuePath({ vhost, name })}/messages?end=${end}&limit=${PAGE}`;
  const { value, error, again } = useAsked(() => get<MessagePage>(path), [path]);
  const [more, setMore] = useState<MessagePage[]>([]);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const pages = value === undefined ? [] : [value, ...more];
  const messages = pages.flatMap(({ messages }) => messages);
  const next = pages.at(-1)?.next;
  const can = live.overview?.can ?? [];
  function refresh(): void {
    setMore([]);
    setSelected(new Set());
    again();
  }
  if (!can.includes("browse")) {
    return (
      <section class="card">
        <Empty title="AMQP shows no tasks without taking them">
          Dead tasks can be looked at, and all of them be counted.
        </Empty>
      </section>
    );
  }
  return (
    <section class="card" aria-label="Waiting tasks">
      <div class="toolbar">
        <div class="segments" role="group" aria-label="Which tasks come first">
          {(["oldest", "newest"] as const).map((which) => (
            <button
              key={which}
              type="button"
              aria-pressed={which === end}
              onClick={() => {
                setMore([]);
                setEnd(which);
              }}
            >
              {which === "oldest" ? "Oldest first" : "Newest first"}
            </button>
          ))}
        </div>
        <button type="button" class="quiet" onClick={refresh}>Refresh</button>
        <span class="space" />
        {selected.size > 0 && (
          <button
            type="button"
            class="danger"
            onClick={() =>
              desk.ask({
                title: `Drop ${plural(selected.size, "task")}?`,
                text: "They are removed for good.",
                action: `Drop ${plural(selected.size, "task")}`,
                danger: true,
                act: async () => {
                  const body = { keys: [...selected] };
                  const drop = `${queuePath({ vhost, name })}/drop`;
                  const result = await ask<ActionResult>("POST", drop, body);
                  refresh();
                  return saidOf(result, "dropped");
                },
              })}
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
      {value && messages.length === 0 && (
        <Empty title="Nothing waits here" command={`new_task --queue ${name} Hello...`} />
      )}
      {messages.length > 0 && (
        <MessageList
          messages={messages}
          place={{ vhost, name }}
          {...(can.includes("replay") ? { selected, onSelect: setSelected } : {})}
          onDone={refresh}
        />
      )}
      {next !== undefined && messages.length < ready && (
        <div class="toolbar">
          <button
            type="button"
            onClick={async () => {
              const page = await get<MessagePage>(`${path}&from=${encodeURIComponent(next)}`);
              setMore([...more, page]);
            }}
          >
            Show more
          </button>
        </div>
      )}
    </section>
  );
}
