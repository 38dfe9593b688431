/** All of one message, and what can be done with it. */
import { useState } from "preact/hooks";
import type { ActionResult, MessageDetail, Sent } from "../../observe/board.ts";
import { escapeControls } from "../../observe/log.ts";
import { ask, get, type QueueName, queuePath } from "./api.ts";
import { type As, bodyAs, bytesOf, isText, waysOf } from "./body.ts";
import { bytes, duration, moment } from "./format.ts";
import { live } from "./live.ts";
import { saidOf } from "./action_result.ts";
import { TaskForm } from "./send.tsx";
import { askToSettle } from "./settle.ts";
import { desk, Dialog, useAsked } from "./ui.tsx";

interface Props {
  readonly place: QueueName;
  readonly message: string;
  readonly onClose: () => void;
  /** Something was done with it. */
  readonly onDone: () => void;
}

export function MessageDialog({ place, message, onClose, onDone }: Props) {
  const path = `${queuePath(place)}/messages/${message}`;
  const { value, error } = useAsked(() => get<MessageDetail>(path), [path]);
  const [edits, setEdits] = useState(false);
  return (
    <Dialog title={escapeControls(value?.id ?? "Task")} onClose={onClose} wide>
      {error && <p class="error-text">{error.message}</p>}
      {value && (edits
        ? (
          <TaskForm
            queue={queueFor(value, place.name)}
            vhost={place.vhost}
            initial={value}
            submit="Send in its place"
            onCancel={() => setEdits(false)}
            send={async (record) => {
              const { id, queue } = await ask<Sent>("PUT", path, record);
              onDone();
              return escapeControls(`Sent to ${queue} as ${id}, in place of the old one.`);
            }}
          />
        )
        : <Shown value={value} place={place} onEdit={() => setEdits(true)} onDone={onDone} />)}
    </Dialog>
  );
}

/** An edited dead task goes to the queue that it came from. */
function queueFor({ headers }: MessageDetail, name: string): string {
  const origin = headers["task-origin-queue"];
  if (typeof origin === "string") return origin;
  return name.endsWith(".dead") ? name.slice(0, -".dead".length) : name;
}

function Shown(
  { value, place, onEdit, onDone }: {
    value: MessageDetail;
    place: QueueName;
    onEdit: () => void;
    onDone: () => void;
  },
) {
  const can = live.overview?.can ?? [];
  const path = queuePath(place);
  const selection = { keys: [value.key] };
  async function replay(): Promise<void> {
    const done = await desk.attempt(async () =>
      saidOf(await ask<ActionResult>("POST", `${path}/replay`, selection), "replayed")
    );
    if (done) onDone();
  }
  return (
    <>
      <Facts value={value} queue={place.name} />
      <Body value={value} />
      <Table title="Properties" rows={value.properties} />
      <Table title="Headers" rows={value.headers} />
      {!value.running && (
        <footer>
          {can.includes("replay") && (
            <button
              type="button"
              class="danger"
              onClick={() => askToSettle("drop", path, selection, 1, onDone)}
            >
              Drop&#x2026;
            </button>
          )}
          <span class="space" />
          {can.includes("send") && !value.bodyCut && (
            <button type="button" onClick={onEdit}>Edit and send again</button>
          )}
          {can.includes("replay") && place.name.endsWith(".dead") && (
            <button
              type="button"
              class="primary"
              onClick={replay}
            >
              Replay
            </button>
          )}
        </footer>
      )}
    </>
  );
}

function Facts({ value, queue }: { value: MessageDetail; queue: string }) {
  const { running } = value;
  return (
    <dl class="facts">
      <Fact name="Queue" value={escapeControls(queue)} />
      <Fact name="Type" value={value.type && escapeControls(value.type)} />
      <Fact name="Size" value={bytes(value.size)} />
      <Fact name="Dead because" value={value.reason && escapeControls(value.reason)} />
      <Fact name="Error" value={value.error} wide />
      <Fact name="Died at" value={value.diedAt && moment(value.diedAt)} />
      <Fact
        name="Runs"
        value={running &&
          `for ${duration(running.sinceMs)}, by ${
            escapeControls(running.client) || "a client"
          } at ${running.address}`}
      />
      <Fact name="Exchange" value={value.exchange || undefined} />
    </dl>
  );
}

function Fact(
  { name, value, wide }: { name: string; value: string | undefined; wide?: boolean },
) {
  if (value === undefined) return null;
  return (
    <div class={wide ? "wide" : ""}>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Body({ value }: { value: MessageDetail }) {
  const body = bytesOf(value.bodyBase64);
  const ways = waysOf(body, value.properties["content_type"]);
  const [as, setAs] = useState<As>(ways[0]!);
  return (
    <section class="body">
      <div class="section-head">
        <h3>Body</h3>
        <div class="segments" role="group" aria-label="Show the body as">
          {ways.map((way) => (
            <button
              key={way}
              type="button"
              aria-pressed={way === as}
              onClick={() => setAs(way)}
            >
              {way}
            </button>
          ))}
        </div>
      </div>
      <pre tabIndex={0} aria-label="Body">{body.length === 0 ? "(empty)" : bodyAs(body, as)}</pre>
      {value.bodyCut && <p class="muted">Only the first {bytes(body.length)} are shown.</p>}
      {!isText(body) && as === "Text" && <p class="muted">It is not UTF-8.</p>}
    </section>
  );
}

function shownAs(name: string, value: unknown): string {
  if (typeof value === "string") return value.split("\n").map(escapeControls).join("\n");
  const text = JSON.stringify(value);
  return name === "timestamp" ? `${text} (${moment(Number(value) * 1_000)})` : text;
}

function Table({ title, rows }: { title: string; rows: Readonly<Record<string, unknown>> }) {
  const entries = Object.entries(rows);
  if (entries.length === 0) return null;
  return (
    <section>
      <h3>{title}</h3>
      <table class="pairs">
        <tbody>
          {entries.map(([name, value]) => (
            <tr key={name}>
              <th scope="row">{escapeControls(name)}</th>
              <td>{shownAs(name, value)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
