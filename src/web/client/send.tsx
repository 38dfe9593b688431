/** The form by which a task is sent, or sent again as edited. */
import { useState } from "preact/hooks";
import type { MessageDetail, Sent } from "../../observe/board.ts";
import { escapeControls } from "../../observe/log.ts";
import { ask, queuePath } from "./api.ts";
import { bytesOf, isText, textOf } from "./body.ts";
import { live } from "./live.ts";
import { recordOf } from "./record.ts";
import { desk, Dialog } from "./ui.tsx";

export function SendButton({ vhost = "/", queue }: { vhost?: string; queue?: string }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <button type="button" class="primary" onClick={() => setOpen(true)}>Send a task</button>
      {open && (
        <Dialog
          title={queue === undefined ? "Send a task" : `Send a task to ${escapeControls(queue)}`}
          onClose={() => setOpen(false)}
        >
          <TaskForm
            vhost={vhost}
            queue={queue}
            submit="Send"
            onCancel={() => setOpen(false)}
            send={async (record, to) => {
              const path = `${queuePath({ vhost, name: to })}/messages`;
              const { id } = await ask<Sent>("POST", path, record);
              setOpen(false);
              return escapeControls(`Sent to ${to} as ${id}.`);
            }}
          />
        </Dialog>
      )}
    </>
  );
}

interface FormProps {
  readonly vhost: string;
  /** Where it goes; absent: that is asked. */
  readonly queue: string | undefined;
  /** What is edited. */
  readonly initial?: MessageDetail;
  readonly submit: string;
  readonly onCancel: () => void;
  readonly send: (record: Record<string, unknown>, queue: string) => Promise<string>;
}

export function TaskForm({ vhost, queue, initial, submit, onCancel, send }: FormProps) {
  const [busy, setBusy] = useState(false);
  const body = initial === undefined ? new Uint8Array() : bytesOf(initial.bodyBase64);
  const isBinary = !isText(body);
  async function submitted(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const written = (name: string) => String(form.get(name) ?? "");
    setBusy(true);
    const record = { ...recordOf(written, initial), ...(queue === undefined ? {} : { queue }) };
    const done = await desk.attempt(() => send(record, queue ?? written("queue").trim()));
    if (!done) setBusy(false);
  }
  const names = [...live.families.values()].filter((family) => family.vhost === vhost);
  return (
    <form onSubmit={submitted}>
      {queue === undefined && (
        <label>
          Queue
          <input name="queue" list="queue-names" required maxLength={238} autoComplete="off" />
          <datalist id="queue-names">
            {names.slice(0, 500).map(({ name }) => <option key={name} value={name} />)}
          </datalist>
        </label>
      )}
      {isBinary ? <p class="muted">The body is no text; it stays as it is.</p> : (
        <label>
          Body
          <textarea name="body" rows={8} spellcheck={false} defaultValue={textOf(body)} />
        </label>
      )}
      <div class="fields">
        <Field name="type" label="Type" value={initial?.type} />
        <Field
          name="content_type"
          label="Content type"
          value={initial?.properties["content_type"]}
          hint="text/plain"
        />
        <Field name="id" label="Id" value={initial?.id} hint="a random one" />
        <Field name="priority" label="Priority" value={initial?.properties["priority"]} hint="0" />
        <Field name="delay" label="Delay" value={undefined} hint="such as 90s" />
      </div>
      <footer>
        <button type="button" onClick={onCancel}>Cancel</button>
        <button type="submit" class="primary" disabled={busy}>{submit}</button>
      </footer>
    </form>
  );
}

function Field(
  { name, label, value, hint }: { name: string; label: string; value: unknown; hint?: string },
) {
  return (
    <label>
      {label}
      <input
        name={name}
        defaultValue={value === undefined ? "" : String(value)}
        placeholder={hint}
        autoComplete="off"
        {...(name === "priority" ? { type: "number", min: 0, max: 255 } : {})}
      />
    </label>
  );
}
