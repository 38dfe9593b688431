/** Two who act at the same moment: nothing is lost, nothing is twice, and each is told what he did. */
import { assert, assertEquals } from "@std/assert";
import type { ActionResult, SearchPage } from "../../src/observe/board.ts";
import { run } from "../support/process.ts";
import { toolCommand } from "../support/tools.ts";
import { waitUntil } from "../support/wait.ts";
import { QueueBench } from "../worker/bench.ts";
import { at, Paged } from "./paged.ts";

const DEAD = 1_500;

Deno.test("actions of the page race with others", async (t) => {
  await using paged = await Paged.start();
  const { url } = paged.broker;

  async function withDead(act: (bench: QueueBench, dead: string) => Promise<void>): Promise<void> {
    await using bench = await QueueBench.open(url);
    const dead = `${bench.name}.dead`;
    await paged.send(dead, { body: "first", id: "m-0" });
    await Promise.all(
      Array.from({ length: DEAD - 1 }, (_, n) => {
        const headers = { "task-dead-reason": "rejected", "task-origin-queue": bench.name };
        return bench.send(`task ${n}`, { messageId: `m-${n + 1}`, headers }, dead);
      }),
    );
    await act(bench, dead);
  }

  /** The ids of all that is ready on a queue; it is empty then. */
  async function drain(bench: QueueBench, queue: string): Promise<string[]> {
    const ids: string[] = [];
    const channel = await bench.transport.openChannel();
    for (;;) {
      const message = await channel.basicGet(queue, { noAck: true });
      if (message === null) break;
      ids.push(message.properties.messageId!);
    }
    await channel.close();
    return ids;
  }

  const all = Array.from({ length: DEAD }, (_, n) => `m-${n}`).sort();

  await t.step("a replay on the page, and worker dead replay", async () => {
    await withDead(async (bench, dead) => {
      const [command, ...args] = toolCommand("worker", ["dead", "replay", "-q", bench.name]);
      const tool = run(command, { args, env: { AMQP_URL: url } });
      await waitUntil("the first one of the tool", async () => {
        return (await paged.queue(dead)).unacked! > 0 || await bench.ready() > 0;
      });
      const { done, failed } = await paged.post(`${at(dead)}/replay`, { all: true });
      const { code, stderr } = await tool;
      const ids = [...await drain(bench, bench.name), ...await drain(bench, dead)];
      assertEquals(ids.sort(), all);
      assertEquals([failed, code], [0, 0], stderr);
      assert(done < DEAD, `all ${done} were replayed on the page`);
    });
  });

  await t.step("two replays and a drop of the same tasks", async () => {
    await withDead(async (bench, dead) => {
      const keys = (await paged.messages(dead)).map(({ key }) => key);
      const results = await Promise.all([
        paged.post<ActionResult>(`${at(dead)}/replay`, { all: true }),
        paged.post<ActionResult>(`${at(dead)}/replay`, { keys }),
        paged.post<ActionResult>(`${at(dead)}/drop`, { group: { reason: "rejected", type: "" } }),
      ]);
      const [one, two, dropped] = results.map(({ done }) => done);
      const ids = await drain(bench, bench.name);
      assertEquals(ids.length, new Set(ids).size);
      assertEquals([ids.length, one! + two! + dropped!], [one! + two!, DEAD]);
      assertEquals(results[1]!.done + results[1]!.gone, keys.length);
      assertEquals((await paged.queue(dead)).ready, 0);
    });
  });

  await t.step("a drop while somebody takes from the dead queue", async () => {
    await withDead(async (bench, dead) => {
      const taken: string[] = [];
      let dropped = false;
      const channel = await bench.transport.openChannel();
      const taking = (async () => {
        for (;;) {
          const message = await channel.basicGet(dead, { noAck: false });
          if (message === null && dropped) break;
          if (message === null) continue;
          taken.push(message.properties.messageId!);
          await message.ack();
        }
      })();
      await waitUntil("the first one", () => taken.length > 0);
      const { done } = await paged.post(`${at(dead)}/drop`, {
        group: { reason: "rejected", type: "" },
      });
      const rest = await paged.post(`${at(dead)}/drop`, { all: true });
      dropped = true;
      await taking;
      assertEquals(taken.length, new Set(taken).size);
      assertEquals(taken.length + done + rest.done, DEAD);
    });
  });

  await t.step("a queue that goes away under a replay", async () => {
    await withDead(async (bench, dead) => {
      const channel = await bench.transport.openChannel();
      const [replayed, { messageCount }] = await Promise.all([
        paged.post(`${at(dead)}/replay`, { all: true }),
        waitUntil("the first one", async () => await bench.ready() > 0)
          .then(() => channel.queueDelete(dead)),
      ]);
      assertEquals(replayed.done + messageCount, DEAD);
      assertEquals(await bench.ready(), replayed.done);
      await channel.close();
    });
  });

  await t.step("a purge while somebody searches, and an edit of what is purged", async () => {
    await withDead(async (_, dead) => {
      const [one] = await paged.messages(dead, "limit=1");
      const [found, purged, edited] = await Promise.all([
        paged.get<SearchPage>(`/search?q=task&queue=${dead}`),
        paged.post(`${at(dead)}/purge`),
        paged.ask("PUT", `/api/v1${at(dead)}/messages/${one!.key}`, { body: "x", queue: dead }),
      ]);
      const { ready } = await paged.queue(dead);
      // It was edited before the purge, after it, or not at all.
      if (edited.status === 409) assertEquals([purged.done, ready], [DEAD, 0]);
      else assertEquals([edited.status, purged.done + ready], [200, DEAD]);
      assert(found.looked <= DEAD);
    });
  });
});
