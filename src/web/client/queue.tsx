/** One work queue: its numbers, its tasks, who works on it, and what can be done with it. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { ActionResult, MessagePage, QueueDetail } from "../../observe/board.ts";
import { ask, get, queuePath } from "./api.ts";
import { Chart } from "./chart.tsx";
import { DeadLetters } from "./dead.tsx";
import { age, bytes, count, duration, plural, rate } from "./format.ts";
import { useHistory } from "./history.ts";
import { deadIn, delayedIn, type Family, keyOf, live, useLive } from "./live.ts";
import { MessageList } from "./messages.tsx";
import { saidOf } from "./action_result.ts";
import { hrefOf } from "./route.ts";
import { SendButton } from "./send.tsx";
import { Badge, desk, Empty, Stat, useAsked } from "./ui.tsx";

interface Props {
  readonly vhost: string;
  readonly name: string;
  readonly tab: string;
}

export function QueueView({ vhost, name, tab }: Props) {
  const { families, overview } = useLive();
  const family = families.get(keyOf(vhost, name));
  const work = family?.work;
  const path = queuePath({ vhost, name });
  const history = useHistory(
    path,
    (answer: QueueDetail) => answer.history,
    () => live.queue(vhost, name),
  );
  const tabsNav = useRef<HTMLElement>(null);
  useEffect(() => {
    const current = tabsNav.current?.querySelector<HTMLElement>("[aria-current]");
    if (current) tabsNav.current!.scrollLeft = current.offsetLeft - 60;
  }, [tab, family !== undefined]);
  if (overview === undefined) return null;
  if (family === undefined) {
    return (
      <>
        <div class="view-head">
          <h1 tabIndex={-1}>{name}</h1>
        </div>
        <Empty title="There is no such queue" command={`new_task --queue ${name} Hello...`}>
          It is made by the first task that is sent to it, or by the first worker.
        </Empty>
      </>
    );
  }
  const { can } = overview;
  const tabs: [id: string, label: string, count: number | undefined][] = [
    ["waiting", "Waiting", work?.ready],
    ...(can.includes("running") ? [["running", "Running", work?.unacked] as never] : []),
    ["delayed", "Delayed", delayedIn(family)],
    ["dead", "Dead", deadIn(family)],
    ...(can.includes("consumers") ? [["consumers", "Consumers", work?.consumers] as never] : []),
  ];
  const shown = tabs.some(([id]) => id === tab) ? tab : "waiting";
  return (
    <>
      <div class="view-head">
        <div>
          <p class="crumb">
            <a href={hrefOf({ view: "queues" })}>Queues</a>
          </p>
          <h1 tabIndex={-1}>{name}</h1>
          <p class="badges">
            {work?.paused && <Badge tone="paused">paused</Badge>}
            {work?.type && <Badge>{work.type}</Badge>}
            {work?.durable === false && <Badge>not durable</Badge>}
            {work?.exclusive && <Badge>exclusive</Badge>}
            {vhost !== "/" && <Badge>{vhost}</Badge>}
          </p>
        </div>
        <Actions family={family} />
      </div>
      {work?.paused && (
        <p class="banner paused" role="note">
          Paused: consumers get nothing, and tasks that come wait here.
        </p>
      )}
      <dl class="stats">
        <Stat label="Waiting" value={count(work?.ready ?? 0)} />
        {work?.unacked !== undefined && <Stat label="Running" value={count(work.unacked)} />}
        <Stat label="Delayed" value={count(delayedIn(family))} />
        <Stat
          label="Dead"
          value={count(deadIn(family))}
          tone={deadIn(family) > 0 ? "alert" : undefined}
        />
        {work?.rates && (
          <>
            <Stat label="In" value={rate(work.rates.in)} unit="/s" />
            <Stat label="Out" value={rate(work.rates.out)} unit="/s" />
          </>
        )}
        {can.includes("browse") && (
          <Stat
            label="Oldest waits"
            value={work?.oldestAt === undefined ? "\u2013" : age(live.now() - work.oldestAt)}
            title="At least, and since the broker started"
          />
        )}
        {work?.bytes !== undefined && <Stat label="Size" value={bytes(work.bytes)} />}
      </dl>
      {work && (
        <div class="charts">
          <Chart
            title="Waiting"
            at={history.at}
            lines={[{ label: "tasks", color: "--c-depth", values: history.ready, filled: true }]}
          />
          {work.rates && (
            <Chart
              title="Tasks a second"
              at={history.at}
              lines={[
                { label: "in", color: "--c-in", values: history.in, isRate: true },
                { label: "out", color: "--c-out", values: history.out, isRate: true },
              ]}
            />
          )}
        </div>
      )}
      <nav class="tabs" ref={tabsNav} aria-label="Parts of the queue">
        {tabs.map(([id, label, number]) => (
          <a
            key={id}
            href={hrefOf({ view: "queue", vhost, name, tab: id })}
            aria-current={id === shown ? "page" : undefined}
            class={id === "dead" && (number ?? 0) > 0 ? "alert" : ""}
          >
            {label} {number !== undefined && <span class="count">{count(number)}</span>}
          </a>
        ))}
      </nav>
      {shown === "waiting" && work && <Waiting vhost={vhost} name={name} ready={work.ready} />}
      {shown === "running" && <Running path={`${path}/running`} place={{ vhost, name }} />}
      {shown === "delayed" && <Delayed family={family} />}
      {shown === "dead" && <DeadLetters family={family} />}
      {shown === "consumers" && <Consumers path={path} />}
    </>
  );
}

function Actions({ family }: { family: Family }) {
  const { vhost, name, work } = family;
  const can = live.overview?.can ?? [];
  const path = queuePath({ vhost, name });
  function pause(paused: boolean): void {
    desk.attempt(async () => {
      const { changed } = await ask<{ changed: boolean }>("PUT", `${path}/paused`, { paused });
      const state = paused ? "paused" : "not paused any more";
      return changed ? `${name} is ${state}.` : `${name} was ${state} already.`;
    });
  }
  return (
    <div class="actions">
      {work && can.includes("purge") && (
        <button
          type="button"
          class="danger"
          disabled={work.ready === 0}
          onClick={() =>
            desk.ask({
              title: `Purge ${name}?`,
              text: `${plural(work.ready, "waiting task")} ${
                work.ready === 1 ? "is" : "are"
              } removed for good, and so is what comes until then.`,
              action: `Purge ${plural(work.ready, "task")}`,
              danger: true,
              act: async () => saidOf(await ask<ActionResult>("POST", `${path}/purge`), "removed"),
            })}
        >
          Purge&#x2026;
        </button>
      )}
      {work && can.includes("pause") && (
        <button type="button" onClick={() => pause(!work.paused)}>
          {work.paused ? "Resume" : "Pause"}
        </button>
      )}
      {can.includes("send") && <SendButton vhost={vhost} queue={name} />}
    </div>
  );
}

const PAGE = 50;

/** Tasks that wait, from either end. */
function Waiting({ vhost, name, ready }: { vhost: string; name: string; ready: number }) {
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

/** What consumers have and have not settled. */
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

function Delayed({ family: { delays } }: { family: Family }) {
  const waiting = delays.filter(({ ready, unacked = 0 }) => ready + unacked > 0);
  if (waiting.length === 0) {
    return (
      <section class="card">
        <Empty title="Nothing waits for its time" command="new_task --delay 90s Hello..." />
      </section>
    );
  }
  return (
    <section class="card" aria-label="Delayed tasks">
      <div class="scroll">
        <table class="plain">
          <thead>
            <tr>
              <th scope="col">Pause</th>
              <th scope="col" class="number">Tasks</th>
              <th scope="col" class="number">First is due</th>
              <th scope="col" class="number">Last is due</th>
            </tr>
          </thead>
          <tbody>
            {waiting.map(({ name, delayMs, ready, due }) => (
              <tr key={name}>
                <th scope="row">{duration(delayMs ?? 0)}</th>
                <td class="number">{count(ready)}</td>
                <td class="number">{due ? dueIn(due.firstAt) : "\u2013"}</td>
                <td class="number">{due ? dueIn(due.lastAt) : "\u2013"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="none muted">A long wait is made of several pauses, one after the other.</p>
    </section>
  );
}

function dueIn(at: number): string {
  const ms = at - live.now();
  return ms <= 0 ? "now" : `in ${duration(ms)}`;
}

function Consumers({ path }: { path: string }) {
  const { value, error, again } = useAsked(() => get<QueueDetail>(path), [path]);
  const list = value?.consumerList;
  return (
    <section class="card" aria-label="Consumers">
      <div class="toolbar">
        <span class="space" />
        <button type="button" class="quiet" onClick={again}>Refresh</button>
      </div>
      {error && <p class="none error-text">{error.message}</p>}
      {list?.length === 0 && (
        <Empty title="Nobody takes tasks from this queue" command="worker -- ./handle.sh" />
      )}
      {list && list.length > 0 && (
        <div class="scroll">
          <table class="plain">
            <thead>
              <tr>
                <th scope="col">Client</th>
                <th scope="col">Address</th>
                <th scope="col">Tag</th>
                <th scope="col" class="number">Running</th>
                <th scope="col" class="number">Prefetch</th>
              </tr>
            </thead>
            <tbody>
              {list.map(({ tag, client, address, unacked, prefetch, connection }) => (
                <tr key={`${connection} ${tag}`}>
                  <th scope="row">{client || "unknown"}</th>
                  <td>{address}</td>
                  <td class="mono">{tag}</td>
                  <td class="number">{unacked === undefined ? "\u2013" : count(unacked)}</td>
                  <td class="number">{prefetch === 0 ? "no limit" : count(prefetch)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
