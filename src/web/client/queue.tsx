/** One work queue: its numbers, its tasks, who works on it, and what can be done with it. */
import { useEffect, useRef } from "preact/hooks";
import type { Ability, ActionResult, QueueDetail } from "../../observe/board.ts";
import { escapeControls } from "../../observe/log.ts";
import { saidOf } from "./action_result.ts";
import { ask, queuePath } from "./api.ts";
import { Charts } from "./chart.tsx";
import { queueOption } from "./command.ts";
import { Consumers } from "./consumers.tsx";
import { DeadLetters } from "./dead.tsx";
import { Delayed } from "./delayed.tsx";
import { age, bytes, count, plural, rate } from "./format.ts";
import { useHistory } from "./history.ts";
import { deadIn, delayedIn, type Family, keyOf, live, useLive } from "./live.ts";
import { hrefOf } from "./route.ts";
import { Running } from "./running.tsx";
import { SendButton } from "./send.tsx";
import { Badge, desk, Empty, Stat } from "./ui.tsx";
import { Waiting } from "./waiting.tsx";

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
  if (overview === undefined) return null;
  if (family === undefined) {
    return (
      <>
        <div class="view-head">
          <h1 tabIndex={-1}>{escapeControls(name)}</h1>
        </div>
        <Empty title="There is no such queue" command={`new_task ${queueOption(name)} Hello...`}>
          It is made by the first task that is sent to it, or by the first worker.
        </Empty>
      </>
    );
  }
  const { can } = overview;
  const tabs = tabsOf(family, can);
  const shown = tabs.some(([id]) => id === tab) ? tab : "waiting";
  return (
    <>
      <Head family={family} />
      {work?.paused && (
        <p class="banner paused" role="note">
          Paused: consumers get nothing, and tasks that come wait here.
        </p>
      )}
      <Numbers family={family} tellsAge={can.includes("browse")} />
      {work && <Charts history={history} tellsRates={work.rates !== undefined} />}
      <Tabs vhost={vhost} name={name} tabs={tabs} shown={shown} />
      {shown === "waiting" && work && <Waiting vhost={vhost} name={name} ready={work.ready} />}
      {shown === "running" && <Running path={`${path}/running`} place={{ vhost, name }} />}
      {shown === "delayed" && <Delayed family={family} />}
      {shown === "dead" && <DeadLetters family={family} />}
      {shown === "consumers" && <Consumers path={path} name={name} />}
    </>
  );
}

function Head({ family }: { family: Family }) {
  const { vhost, name, work } = family;
  return (
    <div class="view-head">
      <div>
        <p class="crumb">
          <a href={hrefOf({ view: "queues" })}>Queues</a>
        </p>
        <h1 tabIndex={-1}>{escapeControls(name)}</h1>
        <p class="badges">
          {work?.paused && <Badge tone="paused">paused</Badge>}
          {work?.type && <Badge>{work.type}</Badge>}
          {work?.durable === false && <Badge>not durable</Badge>}
          {work?.exclusive && <Badge>exclusive</Badge>}
          {vhost !== "/" && <Badge>{escapeControls(vhost)}</Badge>}
        </p>
      </div>
      <Actions family={family} />
    </div>
  );
}

function Numbers({ family, tellsAge }: { family: Family; tellsAge: boolean }) {
  const { work } = family;
  return (
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
      {tellsAge && (
        <Stat
          label="Oldest waits"
          value={work?.oldestAt === undefined ? "\u2013" : age(live.now() - work.oldestAt)}
          title="At least, and since the broker started"
        />
      )}
      {work?.bytes !== undefined && <Stat label="Size" value={bytes(work.bytes)} />}
    </dl>
  );
}

type Tab = [id: string, label: string, count: number | undefined];

/** What this broker has something for. */
function tabsOf(family: Family, can: readonly Ability[]): Tab[] {
  const { work } = family;
  return [
    ["waiting", "Waiting", work?.ready],
    ...(can.includes("running") ? [["running", "Running", work?.unacked] as Tab] : []),
    ["delayed", "Delayed", delayedIn(family)],
    ["dead", "Dead", deadIn(family)],
    ...(can.includes("consumers") ? [["consumers", "Consumers", work?.consumers] as Tab] : []),
  ];
}

interface TabsProps {
  readonly vhost: string;
  readonly name: string;
  readonly tabs: readonly Tab[];
  readonly shown: string;
}

function Tabs({ vhost, name, tabs, shown }: TabsProps) {
  const tabsNav = useRef<HTMLElement>(null);
  useEffect(() => {
    const current = tabsNav.current?.querySelector<HTMLElement>("[aria-current]");
    if (current) tabsNav.current!.scrollLeft = current.offsetLeft - 60;
  }, [shown]);
  return (
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
  );
}

function Actions({ family }: { family: Family }) {
  const { vhost, name, work } = family;
  const shown = escapeControls(name);
  const can = live.overview?.can ?? [];
  const path = queuePath({ vhost, name });
  function pause(paused: boolean): void {
    desk.attempt(async () => {
      const { changed } = await ask<{ changed: boolean }>("PUT", `${path}/paused`, { paused });
      const state = paused ? "paused" : "not paused any more";
      return changed ? `${shown} is ${state}.` : `${shown} was ${state} already.`;
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
              title: `Purge ${shown}?`,
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
