/** A password that changes while a tool runs. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { startBroker } from "../support/embedded.ts";
import { rabbitmqTest, sharedRabbitmq } from "../support/rabbitmq.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { look } from "./queue_view.ts";
import { send, start, stop, type ToolOptions } from "./tools.ts";

/** @param change gives the user that password, and ends the connections */
async function checkRotation(
  target: ToolOptions,
  file: string,
  change: (password: string) => Promise<void>,
): Promise<void> {
  await using worker = start("worker", ["--password-file", file], target);
  await worker.waitForLine(/Waiting/);
  await Deno.remove(file);
  await change("second");
  await worker.waitForLog(/cannot read the password file .*; trying again/);
  await Deno.writeTextFile(file, "");
  await worker.waitForLog(/the password file .* must hold one line, and is empty; trying again/);
  await Deno.writeTextFile(file, "sec");
  await worker.waitForLog(/cannot log in .*403.*; trying again/);
  await Deno.writeTextFile(file, "second\n");
  await worker.waitForLog(/connected again/);
  await send(["--password-file", file, "after"], target);
  await worker.waitForLine(/Received after/);
  await stop(worker);
}

rabbitmqTest(
  "RabbitMQ: a worker logs in again with the password that its file has then",
  async () => {
    const node = await sharedRabbitmq();
    const user = uniqueName("user");
    await using dir = await tempDir();
    const file = dir.file("password");
    await Deno.writeTextFile(file, "first\n");
    await node.eval(
      `rabbit_auth_backend_internal:add_user(<<"${user}">>, <<"first">>, <<"tests">>),
      rabbit_auth_backend_internal:set_permissions(
        <<"${user}">>, <<"/">>, <<".*">>, <<".*">>, <<".*">>, <<"tests">>).`,
    );
    const target = { url: `amqp://${user}@127.0.0.1:${node.port}/`, queue: uniqueName("password") };
    await checkRotation(target, file, async (password) => {
      // The node is shared: connections of other tests end between the list and the question.
      await node.eval(
        `rabbit_auth_backend_internal:change_password(<<"${user}">>, <<"${password}">>, <<"tests">>),
        [rabbit_networking:close_connection(Pid, "rotated") ||
          Pid <- rabbit_networking:connections(),
          (catch rabbit_networking:connection_info(Pid, [user])) =:= [{user, <<"${user}">>}]].`,
      );
    });
  },
);

Deno.test("our broker: a worker logs in again with the password that its file has then", async () => {
  await using dir = await tempDir();
  const [file, brokersFile] = [dir.file("password"), dir.file("broker")];
  await Deno.writeTextFile(file, "first\n");
  await Deno.writeTextFile(brokersFile, "first");
  await using broker = await startBroker({
    args: ["--user", "ann", "--password-file", brokersFile],
  });
  const target = { url: `amqp://ann@127.0.0.1:${broker.port}/`, queue: "q" };
  await checkRotation(target, file, async (password) => {
    await Deno.writeTextFile(brokersFile, password);
    await broker.restart();
  });
});

Deno.test("new_task --lines goes on when the password file is whole again, or says why not", async () => {
  await using dir = await tempDir();
  const [file, brokersFile] = [dir.file("password"), dir.file("broker")];
  await Deno.writeTextFile(file, "first\n");
  await Deno.writeTextFile(brokersFile, "first");
  await using broker = await startBroker({
    args: ["--user", "ann", "--password-file", brokersFile],
  });
  const queue = uniqueName("password-lines");
  const target = { url: `amqp://ann@127.0.0.1:${broker.port}/`, queue, stdin: "open" as const };
  const lines = ["--lines", "--password-file", file];
  await using patient = start("new_task", [...lines, "--timeout", "1m"], target);
  await using hasty = start("new_task", [...lines, "--timeout", "3s"], target);
  await patient.write("a\n");
  await hasty.write("b\n");
  const count = async (password: string) =>
    (await look(`amqp://ann:${password}@127.0.0.1:${broker.port}/`, queue).catch(() => undefined))
      ?.ready;
  await waitUntil("two tasks", async () => await count("first") === 2);
  await Deno.writeTextFile(file, "sec");
  await Deno.writeTextFile(brokersFile, "second");
  await broker.restart();
  await patient.write("c\n");
  await hasty.write("d\n");
  const { code, stderr } = await hasty.ended();
  assertEquals(code, 77, stderr);
  assertStringIncludes(stderr, "nothing was confirmed within 3 s: cannot log in at");
  await Deno.writeTextFile(file, "second\n");
  await patient.endInput();
  assertEquals((await patient.ended()).code, 0);
  assertEquals(await count("second"), 3);
});
