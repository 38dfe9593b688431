"""The client of RabbitMQ's sixth tutorial (RPC) on pika, with direct reply-to or a queue of its own.

    AMQP_URL=... QUEUE=... REPLY_TO=queue|direct python3 rpc_client.py BODY...
"""

import os
import sys
import uuid

import pika

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
if os.environ["REPLY_TO"] == "direct":
    reply_to = "amq.rabbitmq.reply-to"
else:
    reply_to = channel.queue_declare(queue="", exclusive=True).method.queue
answers = {}


def on_response(ch, method, properties, body):
    answers[properties.correlation_id] = body


channel.basic_consume(queue=reply_to, on_message_callback=on_response, auto_ack=True)
for body in sys.argv[1:]:
    correlation_id = str(uuid.uuid4())
    channel.basic_publish(
        exchange="",
        routing_key=os.environ["QUEUE"],
        properties=pika.BasicProperties(reply_to=reply_to, correlation_id=correlation_id),
        body=body,
    )
    while correlation_id not in answers:
        connection.process_data_events(time_limit=10)
    print(answers[correlation_id].decode(), flush=True)
connection.close()
