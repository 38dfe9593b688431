/**
 * A private RabbitMQ node for the report, in a process of its own, so that nodes of two systems can
 * run in one report (RABBITMQ_CHROOT). Prints its URL, process id and version as one line of JSON,
 * and ends when stdin does.
 */
// deno-lint-ignore-file no-console
import { startRabbitmq } from "../../../tests/support/rabbitmq.ts";

await using node = await startRabbitmq({ erlArgs: "" });
const pid = Number((await node.eval("os:getpid().")).replaceAll('"', ""));
const version = await node.rabbitmqctl("version");
console.log(JSON.stringify({ url: node.url, pid, version }));
await Deno.stdin.readable.pipeTo(new WritableStream());
