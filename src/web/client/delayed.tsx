/** The tasks of a queue that wait for their time. */
import { count, duration } from "./format.ts";
import { type Family, live } from "./live.ts";
import { Empty } from "./ui.tsx";

export function Delayed({ family: { delays } }: { family: Family }) {
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
                <td class="number" data-label="Tasks">{count(ready)}</td>
                <td class="number" data-label="First is due">
                  {due ? dueIn(due.firstAt) : "\u2013"}
                </td>
                <td class="number" data-label="Last is due">
                  {due ? dueIn(due.lastAt) : "\u2013"}
                </td>
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
