/** Who takes tasks from a queue. */
import type { QueueDetail } from "../../observe/board.ts";
import { escapeControls } from "../../observe/log.ts";
import { get } from "./api.ts";
import { queueOption } from "./command.ts";
import { count } from "./format.ts";
import { Empty, ListCard, useAsked } from "./ui.tsx";

export function Consumers({ path, name }: { path: string; name: string }) {
  const { value, error, again } = useAsked(() => get<QueueDetail>(path), [path]);
  const list = value?.consumerList;
  return (
    <ListCard label="Consumers" again={again} error={error}>
      {list?.length === 0 && (
        <Empty
          title="Nobody takes tasks from this queue"
          command={`worker ${queueOption(name)} -- ./handle.sh`}
        />
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
                  <th scope="row">{escapeControls(client) || "unknown"}</th>
                  <td data-label="Address">{address}</td>
                  <td class="mono" data-label="Tag">{escapeControls(tag)}</td>
                  <td class="number" data-label="Running">
                    {unacked === undefined ? "\u2013" : count(unacked)}
                  </td>
                  <td class="number" data-label="Prefetch">
                    {prefetch === 0 ? "no limit" : count(prefetch)}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </ListCard>
  );
}
