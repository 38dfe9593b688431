/** What consumers have and have not settled: of one queue, and of all. */
import type { MessagePage } from "../../observe/board.ts";
import { get } from "./api.ts";
import { MessageList } from "./messages.tsx";
import { Empty, useAsked } from "./ui.tsx";

export function Running(
  { path, place }: { path: string; place?: { vhost: string; name: string } },
) {
  const { value, error, again } = useAsked(() => get<MessagePage>(path), [path]);
  return (
    <section class="card" aria-label="Running tasks">
      <div class="toolbar">
        <span class="muted">What has run longest is first.</span>
        <span class="space" />
        <button type="button" class="quiet" onClick={again}>Refresh</button>
      </div>
      {error && <p class="none error-text">{error.message}</p>}
      {value?.messages.length === 0 && (
        <Empty
          title="Nothing runs now"
          command={`worker${place ? ` --queue ${place.name}` : ""} -- ./handle.sh`}
        >
          No consumer has a task that it has not settled.
        </Empty>
      )}
      {value && value.messages.length > 0 && (
        <MessageList messages={value.messages} {...(place ? { place } : {})} onDone={again} />
      )}
    </section>
  );
}

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
