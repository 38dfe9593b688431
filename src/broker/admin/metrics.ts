/** The broker's numbers for Prometheus. */

import type { Commits } from "./commits.ts";
import type { Inside } from "./inside.ts";
import type { Sampler } from "./sampler.ts";
import { type Pieces, QUEUES_AT_ONCE } from "./slices.ts";
import type { Queue } from "../queue/queue.ts";
import type { Overview } from "../../observe/board.ts";
import { type Metric, renderMetrics, type Sample, single } from "../../observe/metrics.ts";

/** Queues that have numbers of their own; all others are one, without a name. */
const MOST_NAMED = 200;

type Read = (queue: Queue) => number;

const PER_QUEUE: readonly [name: string, type: "counter" | "gauge", help: string, read: Read][] = [
  ["messages_ready", "gauge", "Messages that wait to be delivered.", (queue) => queue.readyCount],
  [
    "messages_unacked",
    "gauge",
    "Messages that are delivered and not settled.",
    (queue) => queue.flow.unacked,
  ],
  ["consumers", "gauge", "Consumers.", (queue) => queue.consumers.size],
  ["paused", "gauge", "1 while consumers get nothing, else 0.", (queue) => +queue.flow.paused],
  [
    "published_total",
    "counter",
    "Messages that came, dead letters of other queues included.",
    (queue) => queue.flow.published,
  ],
  ["delivered_total", "counter", "Messages that were delivered.", (queue) => queue.flow.delivered],
  ["acked_total", "counter", "Messages whose work was done.", (queue) => queue.flow.acked],
  [
    "returned_total",
    "counter",
    "Messages that came back to be delivered again.",
    (queue) => queue.flow.returned,
  ],
  [
    "dead_total",
    "counter",
    "Messages that the broker gave up: expired, rejected, or over a limit; not those of workers.",
    (queue) => queue.flow.dead,
  ],
];

/** Queues that have numbers of their own, and of each number the sum of all others. */
interface Summed {
  readonly named: readonly Queue[];
  readonly others: readonly number[] | undefined;
}

/** @param queues gives all of them, each time it is called */
export function* sumQueues(queues: () => Iterable<Queue>): Pieces<Summed> {
  // The durable ones first, in the order of their creation: so the same ones keep their names.
  const named: Queue[] = [];
  let count = 0;
  for (const queue of queues()) {
    if (++count % QUEUES_AT_ONCE === 0) yield;
    if (!queue.durable) continue;
    if (named.length === MOST_NAMED) {
      if (named.at(-1)!.identity.id < queue.identity.id) continue;
      named.pop();
    }
    const place = named.findLastIndex(({ identity }) => identity.id < queue.identity.id) + 1;
    named.splice(place, 0, queue);
  }
  const own = new Set(named);
  let others: number[] | undefined;
  for (const queue of queues()) {
    if (++count % QUEUES_AT_ONCE === 0) yield;
    if (own.has(queue)) continue;
    others ??= PER_QUEUE.map(() => 0);
    for (const [index, [, , , read]] of PER_QUEUE.entries()) others[index]! += read(queue);
  }
  return { named, others };
}

export function brokerMetrics(
  overview: Overview,
  inside: Pick<Inside, "letters" | "outboxRoom">,
  { named, others }: Summed,
  sampler: Sampler,
  commits: Commits,
): string {
  const perQueue = PER_QUEUE.map(([name, type, help, read], index): Metric => ({
    name: `workqueue_queue_${name}`,
    help,
    type,
    samples: [
      ...named.map((queue): Sample => ({ label: labelOf(queue), value: read(queue) })),
      ...(others === undefined ? [] : [{ label: OTHERS, value: others[index]! }]),
    ],
  }));
  return renderMetrics([
    ...perQueue.filter(({ samples }) => samples.length > 0),
    {
      name: "workqueue_queue_oldest_message_age_seconds",
      type: "gauge",
      help: "How long the message that is served next has waited, at least.",
      samples: named.map((queue): Sample => {
        const since = sampler.oldestAt(queue) ?? overview.now;
        return { label: labelOf(queue), value: Math.max(0, overview.now - since) / 1_000 };
      }),
    } satisfies Metric,
    {
      name: "workqueue_broker_alarm_reason",
      type: "gauge",
      help: "1 for the reason for which publishers are blocked, or refused, now.",
      samples: overview.alarm === undefined
        ? []
        : [{ label: `reason="${escape(overview.alarm)}"`, value: 1 }],
    } satisfies Metric,
    ...gauges(overview),
    outbox(inside),
    single(
      "gauge",
      "workqueue_broker_kept_letters",
      "Dead letters that stay in their queues until there is one for them.",
      inside.letters.kept.count,
    ),
    commits.metric(),
  ].filter(({ samples }) => samples.length > 0));
}

function gauges({ connections, queues, memory, disk, alarm, uptimeMs }: Overview): Metric[] {
  const rows: [string, string, number | undefined][] = [
    ["workqueue_broker_connections", "Open connections.", connections],
    ["workqueue_broker_queues", "Queues.", queues],
    [
      "workqueue_broker_alarm",
      "1 while publishers are blocked, or refused, else 0.",
      alarm === undefined ? 0 : 1,
    ],
    ["workqueue_broker_disk_free_bytes", "Free bytes of the disk at the last look.", disk?.free],
    [
      "workqueue_broker_disk_used_bytes",
      "Bytes of the disk that the data took at the last look.",
      disk?.used,
    ],
    ["workqueue_broker_message_memory_bytes", "Memory of waiting messages.", memory?.messages],
    [
      "workqueue_broker_message_memory_limit_bytes",
      "Memory that waiting messages may take.",
      memory?.messagesLimit,
    ],
    ["workqueue_broker_uptime_seconds", "Time since the start.", (uptimeMs ?? 0) / 1_000],
    ["process_resident_memory_bytes", "Resident memory size in bytes.", memory?.resident],
  ];
  return rows.flatMap(([name, help, value]) =>
    value === undefined ? [] : [single("gauge", name, help, value)]
  );
}

function outbox({ outboxRoom: { bodies, frames, spill } }: Pick<Inside, "outboxRoom">): Metric {
  return {
    name: "workqueue_broker_outbox_bytes",
    type: "gauge",
    help: "What waits for clients to read it: large bodies and frames in memory, bodies on disk.",
    samples: [
      { label: 'place="bodies"', value: bodies },
      { label: 'place="frames"', value: frames },
      { label: 'place="disk"', value: spill.bytes },
    ],
  };
}

/** Of all queues without a name of their own. */
const OTHERS = 'vhost="",queue=""';

function labelOf({ vhost, name }: Queue): string {
  return `vhost="${escape(vhost)}",queue="${escape(name)}"`;
}

function escape(text: string): string {
  return text.toWellFormed().replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll(
    "\n",
    "\\n",
  );
}
