/** What `new_task` does, through the package's own TCP client: the bench compares the two. */
import { AMQPClient } from "@cloudamqp/amqp-client";

const connection = await new AMQPClient(Deno.env.get("AMQP_URL")!).connect();
const queue = Deno.env.get("WORK_QUEUE")!;
const channel = await connection.channel();
await channel.queueDeclare(queue, { passive: true });
await channel.confirmSelect();
await channel.basicPublish("", queue, "hello", {
  deliveryMode: 2,
  contentType: "text/plain",
  messageId: crypto.randomUUID(),
}, true);
await Deno.stdout.write(new TextEncoder().encode(" [x] Sent hello\n"));
await connection.close();
