/** What runs in a container: process 1 of a namespace of its own, and its health check. */
import { assertEquals } from "@std/assert";
import { startBroker } from "../support/embedded.ts";
import { installed, programTest, run, spawn } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { unless } from "../support/unless.ts";
import { dist } from "./binary.ts";

const healthcheck = new URL("../../packaging/container/healthcheck", import.meta.url).pathname;
const wanted = ["tini", "unshare", "bash"].find((name) => !installed(name));
const missing = Deno.uid() !== 0
  ? "needs root, for a namespace of processes"
  : wanted && `${wanted} is not installed`;

Deno.test({
  ...unless(
    missing,
    "process 1 of a container reaps what commands leave behind, and hands on SIGTERM",
  ),
  async fn() {
    await using temp = await tempDir();
    await using broker = await startBroker();
    const env = { AMQP_URL: broker.url, WORK_QUEUE: "q", OUT: temp.file("out") };
    for (let i = 0; i < 5; i++) await run(`${dist}workqueue`, { args: ["new_task", "x"], env });
    // Of each task something is left that outlives the command; then it looks for zombies.
    const work = 'setsid sh -c "sleep 0 & sleep 0 &" & for i in $(seq 100); do ' +
      'cat /proc/[0-9]*/stat 2>/dev/null >"$OUT"; grep -q ") Z " "$OUT" || break; sleep 0.1; done';
    await using container = spawn("unshare", {
      args: [
        ...["--pid", "--fork", "--kill-child", "--mount-proc", "tini", "--"],
        ...[`${dist}workqueue`, "worker", "--leave-orphans", "--exit-when-empty", "--", "sh", "-c"],
        work,
      ],
      env,
    });
    const { code, stderr } = await container.ended();
    assertEquals(code, 0, stderr);
    const left = (await Deno.readTextFile(temp.file("out"))).split("\n");
    assertEquals(left.filter((line) => / \(.*\) Z /.test(line)), []);
    assertEquals(left.some((line) => line.startsWith("1 (tini)")), true);

    await using endless = spawn("unshare", {
      args: [
        ...["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"],
        // What is outside knows no process number of what is inside.
        'tini -- "$0" worker & read -r _; kill $!; wait $!',
        `${dist}workqueue`,
      ],
      env,
      stdin: "open",
    });
    await endless.waitForLine(/Waiting/);
    await endless.write("\n");
    assertEquals((await endless.ended()).code, 0);
  },
});

programTest("bash", "the health check of a container asks what it is told to ask", async () => {
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    (request) => new Response("", { status: request.url.endsWith("/livez") ? 200 : 503 }),
  );
  const port = `${server.addr.port}`;
  const check = async (env: Record<string, string>) =>
    (await run("bash", { args: [healthcheck], env })).code;
  assertEquals(await check({ HEALTH_PORT: port }), 0);
  assertEquals(await check({ HEALTH_PORT: port, HEALTH_PATH: "/livez" }), 0);
  assertEquals(await check({ HEALTH_PORT: port, HEALTH_PATH: "/readyz" }), 1);
  assertEquals(await check({}), 0);
  await server.shutdown();
  assertEquals(await check({ HEALTH_PORT: port }), 1);
});
