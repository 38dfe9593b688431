/** new_task --lines: every line of an input as a task. */
import { assertEquals, assertLess, assertMatch } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { Proxy } from "../support/proxy.ts";
import { uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { bytesOf, look, onChannel, takeAll } from "./queue_view.ts";
import { finish, start } from "./tools.ts";

const node = await sharedNode();

/** The numbers from 1 to `last`, a line each. */
function numbers(last: number, first = 1): string {
  return Array.from({ length: last - first + 1 }, (_, i) => `${first + i}\n`).join("");
}

brokerTest("lines come through byte for byte, in their order, with their numbers", async () => {
  const target = { url: node.url, queue: uniqueName("lines") };
  const stdin = Uint8Array.from([...[0xff, 0, 10], ...[10, 13, 10], ...[97, 13, 10], ...[98, 32]]);
  const sent = await finish("new_task", ["--lines", "--id", "x", "--type", "t"], {
    ...target,
    stdin,
  });
  assertEquals([sent.code, sent.stdout, sent.stderr], [0, " [x] Sent 3 tasks\n", ""]);
  const tasks = await takeAll(target.url, target.queue);
  assertEquals(tasks.map((task) => [...bytesOf(task)]), [[0xff, 0], [97], [98, 32]]);
  assertEquals(tasks.map(({ properties }) => properties.messageId), ["x-1", "x-4", "x-5"]);
  for (const { properties } of tasks) {
    assertEquals([properties.type, properties.deliveryMode], ["t", 2]);
  }
});

brokerTest("an input without a line sends nothing, and --quiet says nothing", async () => {
  const target = { url: node.url, queue: uniqueName("lines-none") };
  const none = await finish("new_task", ["--lines", "-"], { ...target, stdin: "\n\n" });
  assertEquals([none.code, none.stdout], [0, " [x] Sent 0 tasks\n"]);
  const quiet = await finish("new_task", ["--lines", "--quiet"], { ...target, stdin: "a" });
  assertEquals([quiet.code, quiet.stdout], [0, ""]);
  assertEquals((await takeAll(target.url, target.queue)).length, 1);
});

brokerTest("a task is on the queue while the next line is still waited for", async () => {
  const target = { url: node.url, queue: uniqueName("lines-slow") };
  await using sender = start("new_task", ["--lines"], { ...target, stdin: "open" });
  for (const [i, line] of ["one\n", "two\nthr", "ee\n"].entries()) {
    await sender.write(line);
    await waitUntil(`${i + 1} tasks`, async () => {
      const found = await look(target.url, target.queue).catch(() => undefined);
      return found?.ready === i + 1;
    });
  }
  await sender.endInput();
  assertEquals((await sender.ended()).code, 0);
});

brokerTest(
  "what a lost connection leaves unconfirmed is sent again, and nothing is lost",
  async () => {
    await using proxy = await Proxy.start(node.port);
    const target = { url: proxy.url, queue: uniqueName("lines-cut") };
    await using sender = start("new_task", ["--lines", "--id", "n", "--timeout", "1m"], {
      ...target,
      stdin: "open",
    });
    const seen = new Map<string, string>();
    async function drain(count: number): Promise<void> {
      await waitUntil(`${count} tasks`, async () => {
        for (const task of await takeAll(node.url, target.queue).catch(() => [])) {
          seen.set(task.properties.messageId!, task.bodyString()!);
        }
        return seen.size === count;
      });
    }
    // Cut in the middle of the tasks, while confirms are held back, and while nothing is under way.
    proxy.truncate(20_000, "toServer");
    await sender.write(numbers(1_500));
    await proxy.connected();
    proxy.heal("toServer");
    await drain(1_500);
    proxy.blackHole("toClient");
    await sender.write(numbers(1_600, 1_501));
    await drain(1_600);
    await proxy.cut();
    proxy.heal();
    await proxy.connected();
    await sender.write(numbers(1_700, 1_601));
    await drain(1_700);
    await proxy.cut();
    await sender.write(numbers(1_800, 1_701));
    await sender.endInput();
    const { code, stdout } = await sender.ended();
    assertEquals([code, stdout], [0, " [x] Sent 1800 tasks\n"]);
    await drain(1_800);
    for (const [id, body] of seen) assertEquals(id, `n-${body}`);
  },
);

brokerTest(
  "a broker that confirms nothing more ends it with 75 and the lines to leave out",
  async () => {
    await using proxy = await Proxy.start(node.port);
    const target = { url: proxy.url, queue: uniqueName("lines-hole") };
    await using sender = start("new_task", ["--lines", "--timeout", "2s"], {
      ...target,
      stdin: "open",
    });
    await sender.write("a\n\nb\n");
    await waitUntil("two tasks", async () => {
      return (await look(node.url, target.queue).catch(() => undefined))?.ready === 2;
    });
    // The confirms are out now: a third one waits behind them.
    await sender.write("c\n");
    await waitUntil("three tasks", async () => (await look(node.url, target.queue)).ready === 3);
    proxy.blackHole();
    await sender.write("d\n");
    const { code, stdout, stderr } = await sender.ended();
    assertEquals([code, stdout], [75, ""]);
    assertMatch(
      stderr,
      /^new_task: nothing was confirmed within 2 s: .*; confirmed: [23]; go on with --skip [34] \(line [45] and later /,
    );
    assertEquals(stderr.split("\n").length, 2);
  },
);

brokerTest("a queue that is missing or goes away ends it with 69", async () => {
  const target = { url: node.url, queue: uniqueName("lines-gone") };
  const missing = await finish("new_task", ["--lines", "--no-declare"], {
    ...target,
    stdin: "a\n",
  });
  assertEquals([missing.code, missing.stdout], [69, ""]);
  await using sender = start("new_task", ["--lines"], { ...target, stdin: "open" });
  await sender.write("a\n");
  await waitUntil("a task", async () => {
    return (await look(node.url, target.queue).catch(() => undefined))?.ready === 1;
  });
  await onChannel(node.url, (channel) => channel.queueDelete(target.queue));
  await sender.write("b\n");
  const { code, stderr } = await sender.ended();
  assertEquals(code, 69);
  assertMatch(
    stderr,
    /^new_task: line 2: .*there is no queue .*; confirmed: 1; go on with --skip 1 \(/,
  );
});

brokerTest("what the broker refuses for good ends it at once", async () => {
  const target = { url: node.url, queue: uniqueName("lines-refused") };
  const args = ["--lines", "--timeout", "1h", "--header", "CC=x"];
  const { code, stdout, stderr } = await finish("new_task", args, { ...target, stdin: "a\n" });
  assertEquals([code, stdout], [65, ""]);
  assertMatch(
    stderr,
    /^new_task: line 1: the broker refused the task: .*; confirmed: 0; go on with --skip 0 /,
  );
});

brokerTest(
  "a queue that stays full is asked less and less often, and ends it with 75",
  async () => {
    await using proxy = await Proxy.start(node.port);
    const target = { url: proxy.url, queue: uniqueName("lines-full") };
    await onChannel(node.url, (channel) =>
      channel.queueDeclare(target.queue, { durable: true }, {
        "x-max-length": 2,
        "x-overflow": "reject-publish",
      }));
    const { code, stderr } = await finish("new_task", ["--lines"], {
      ...target,
      stdin: numbers(9),
    });
    assertEquals(code, 75);
    assertMatch(
      stderr,
      /^new_task: .* refused the task .*; confirmed: 2; go on with --skip 2 \(/,
    );
    // With pauses that do not grow there would be about twenty.
    assertLess(proxy.total, 12);
  },
);

brokerTest("an id that leaves no room for the numbers of lines is refused at once", async () => {
  const target = { url: node.url, queue: uniqueName("lines-id") };
  const options = { ...target, stdin: "a\n" };
  const long = await finish("new_task", ["--lines", "--id", "i".repeat(239)], options);
  assertEquals([long.code, long.stdout], [64, ""]);
  assertMatch(long.stderr, /^new_task: --id must have at most 238 bytes .*, and has 239\n$/);
  const longest = await finish("new_task", ["--lines", "--id", "i".repeat(238)], options);
  assertEquals([longest.code, longest.stderr], [0, ""]);
});

brokerTest("a signal ends it with what is confirmed and the line to go on from", async () => {
  const target = { url: node.url, queue: uniqueName("lines-signal") };
  const signals = [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const;
  for (const [signal, status] of signals) {
    await using sender = start("new_task", ["--lines"], { ...target, stdin: "open" });
    await sender.write("a\n\nb\nhalf a li");
    await waitUntil("two tasks", async () => {
      return (await look(target.url, target.queue).catch(() => undefined))?.ready === 2;
    });
    sender.kill(signal);
    const { code, stdout, stderr } = await sender.ended();
    assertEquals([code, stdout, stderr], [
      status,
      "",
      "new_task: ended by a signal; confirmed: 2; go on with --skip 3\n",
    ]);
    assertEquals((await takeAll(target.url, target.queue)).length, 2);
  }
});
