/** What consumers have and have not settled: of one queue, and of all. */
import type { MessagePage } from "../../observe/board.ts";
import { get } from "./api.ts";
import { queueOption } from "./command.ts";
import { MessageList } from "./messages.tsx";
import { Empty, ListCard, useAsked } from "./ui.tsx";

export function Running(
  { path, place }: { path: string; place?: { vhost: string; name: string } },
) {
  const { value, error, again } = useAsked(() => get<MessagePage>(path), [path]);
  return (
    <ListCard
      label="Running tasks"
      said="What has run longest is first."
      again={again}
      error={error}
    >
      {value?.messages.length === 0 && (
        <Empty
          title="Nothing runs now"
          command={`worker${place ? ` ${queueOption(place.name)}` : ""} -- ./handle.sh`}
        >
          No consumer has a task that it has not settled.
        </Empty>
      )}
      {value && value.messages.length > 0 && (
        <MessageList messages={value.messages} {...(place ? { place } : {})} onDone={again} />
      )}
    </ListCard>
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
