"""The sender of RabbitMQ's second tutorial (Work Queues) on pika.

    AMQP_URL=... QUEUE_TYPE=quorum|classic python3 new_task.py Hello...
"""

import os
import sys

import pika

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
# Before quorum queues the tutorial declared without arguments.
arguments = {"x-queue-type": "quorum"} if os.environ["QUEUE_TYPE"] == "quorum" else None
channel.queue_declare(queue="task_queue", durable=True, arguments=arguments)

message = " ".join(sys.argv[1:]) or "Hello World!"
channel.basic_publish(
    exchange="",
    routing_key="task_queue",
    body=message,
    properties=pika.BasicProperties(delivery_mode=2),
)
print(f" [x] Sent {message}")
connection.close()
