/** Dead letters: by reason and type, selected by one, by group or all. */
import { useState } from "preact/hooks";
import type { Group, GroupPage, MessagePage, Selection } from "../../observe/board.ts";
import { escapeControls } from "../../observe/log.ts";
import { get, queuePath } from "./api.ts";
import { queueOption } from "./command.ts";
import { count, inOrder, plural } from "./format.ts";
import { deadIn, type Family, live, useLive } from "./live.ts";
import { MessageList } from "./messages.tsx";
import { More, usePages } from "./pages.tsx";
import { hrefOf } from "./route.ts";
import { askToSettle } from "./settle.ts";
import { Badge, Empty, Looking, useAsked } from "./ui.tsx";

/** Dead queues that are shown at once; more on demand. */
const QUEUES = 25;

/** All dead queues that there are. */
export function DeadView() {
  const { families } = useLive();
  const [shown, setShown] = useState(QUEUES);
  const dead = [...families.values()].filter((family) => deadIn(family) > 0)
    .sort((one, other) => inOrder(one.name, other.name));
  return (
    <>
      <div class="view-head">
        <h1 tabIndex={-1}>Dead letters</h1>
      </div>
      {dead.length === 0
        ? (
          <Empty title="No task is dead" command="worker dead ls">
            A task that fails too often, or that its worker rejects, is kept here until somebody
            replays or drops it.
          </Empty>
        )
        : dead.slice(0, shown).map((family) => (
          <section key={family.key} class="dead-queue">
            <h2>
              <a
                href={hrefOf({
                  view: "queue",
                  vhost: family.vhost,
                  name: family.name,
                  tab: "dead",
                })}
              >
                {escapeControls(family.name)}
              </a>
            </h2>
            <DeadLetters family={family} brief />
          </section>
        ))}
      {dead.length > shown && (
        <button type="button" onClick={() => setShown(shown + QUEUES)}>
          Show {count(Math.min(QUEUES, dead.length - shown))} more of {plural(dead.length, "queue")}
        </button>
      )}
    </>
  );
}

const PAGE = 100;

export function DeadLetters({ family, brief }: { family: Family; brief?: boolean }) {
  const { dead } = family;
  const can = live.overview?.can ?? [];
  if (dead === undefined || deadIn(family) === 0) {
    return (
      <section class="card">
        <Empty title="No task of this queue is dead">
          A task that fails too often, or that its worker rejects, is kept here.
        </Empty>
      </section>
    );
  }
  if (!can.includes("dead")) {
    return (
      <section class="card">
        <Empty
          title={`${plural(dead.ready, "task")} ${dead.ready === 1 ? "is" : "are"} dead`}
          command={`worker dead ls ${queueOption(family.name)}`}
        />
      </section>
    );
  }
  return <Groups family={family} brief={brief ?? false} />;
}

function Groups({ family, brief }: { family: Family; brief: boolean }) {
  const dead = family.dead!;
  const path = queuePath(dead);
  const { value, error, again } = useAsked(() => get<GroupPage>(`${path}/groups`), [path]);
  const [turn, setTurn] = useState(0);
  const total = deadIn(family);
  async function refresh(): Promise<void> {
    await again();
    setTurn((turn) => turn + 1);
  }
  const stale = value !== undefined && value.looked !== dead.ready;
  return (
    <>
      <section class="card" aria-label={`Dead letters of ${escapeControls(family.name)} by reason`}>
        <div class="toolbar">
          <strong>{plural(total, "dead task")}</strong>
          {stale && (
            <button type="button" class="quiet" onClick={refresh}>
              There are changes: refresh
            </button>
          )}
          <span class="space" />
          <Both
            path={path}
            selection={{ all: true }}
            number={dead.ready}
            label="all"
            onDone={refresh}
          />
        </div>
        {error && <p class="none error-text">{error.message}</p>}
        {value === undefined && !error && <Looking />}
        {value && (
          <ul class="groups">
            {value.groups.map((group) => (
              <GroupRow
                key={`${group.reason} ${group.type}`}
                group={group}
                path={path}
                onDone={refresh}
              />
            ))}
          </ul>
        )}
        {value?.cut && (
          <p class="none muted">Only the first {count(value.looked)} were looked at.</p>
        )}
      </section>
      {!brief && <Letters key={turn} family={family} onDone={refresh} />}
    </>
  );
}

function GroupRow(
  { group, path, onDone }: { group: Group; path: string; onDone: () => void },
) {
  const { reason, type, error } = group;
  return (
    <li>
      <span class="group-count">{count(group.count)}</span>
      <div class="group-text">
        <span>
          <Badge tone="dead">{escapeControls(reason) || "no reason"}</Badge>{" "}
          <span class={type ? "" : "muted"}>{escapeControls(type) || "no type"}</span>
        </span>
        {error && <span class="error-text">{error}</span>}
      </div>
      <Both
        path={path}
        selection={{ group: { reason, type } }}
        number={group.count}
        label={escapeControls(`${reason} ${type}`)}
        onDone={onDone}
      />
    </li>
  );
}

/** Replays or drops what is selected, after asking. */
function Both(
  { path, selection, number, label, onDone }: {
    path: string;
    selection: Selection;
    number: number;
    label: string;
    onDone: () => void;
  },
) {
  const confirm = (action: "replay" | "drop") =>
    askToSettle(action, path, selection, number, onDone);
  return (
    <span class="both">
      <button
        type="button"
        class="danger"
        aria-label={`Drop ${label}`}
        onClick={() => confirm("drop")}
      >
        Drop{"all" in selection && " all"}&#x2026;
      </button>
      <button type="button" aria-label={`Replay ${label}`} onClick={() => confirm("replay")}>
        Replay{"all" in selection && " all"}&#x2026;
      </button>
    </span>
  );
}

function Letters({ family, onDone }: { family: Family; onDone: () => void }) {
  const dead = family.dead!;
  const path = queuePath(dead);
  const { pages, error, more } = usePages<MessagePage>(
    `${path}/messages?end=newest&limit=${PAGE}`,
  );
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const messages = pages.flatMap(({ messages }) => messages);
  return (
    <section class="card" aria-label="Dead letters, one by one">
      <div class="toolbar">
        <strong>One by one</strong>
        <span class="muted">newest first</span>
        <span class="space" />
        {selected.size > 0 && (
          <Both
            path={path}
            selection={{ keys: [...selected] }}
            number={selected.size}
            label="the selected tasks"
            onDone={onDone}
          />
        )}
        {selected.size > 0 && <span class="muted">{count(selected.size)} selected</span>}
      </div>
      {error && <p class="none error-text">{error.message}</p>}
      {pages.length === 0 && !error && <Looking />}
      {messages.length > 0 && (
        <MessageList
          messages={messages}
          place={dead}
          selected={selected}
          onSelect={setSelected}
          onDone={onDone}
        />
      )}
      <More label="Show more" more={more} />
    </section>
  );
}
