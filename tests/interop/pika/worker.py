"""The worker of RabbitMQ's second tutorial (Work Queues) on pika; ends when it is killed.

    AMQP_URL=... QUEUE_TYPE=quorum|classic python3 worker.py
"""

import os
import time

import pika

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
# Before quorum queues the tutorial declared without arguments.
arguments = {"x-queue-type": "quorum"} if os.environ["QUEUE_TYPE"] == "quorum" else None
channel.queue_declare(queue="task_queue", durable=True, arguments=arguments)
print(" [*] Waiting for messages. To exit press CTRL+C", flush=True)


def callback(ch, method, properties, body):
    print(f" [x] Received {body.decode()}", flush=True)
    time.sleep(body.count(b"."))
    print(" [x] Done", flush=True)
    ch.basic_ack(delivery_tag=method.delivery_tag)


channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue="task_queue", on_message_callback=callback)
channel.start_consuming()
