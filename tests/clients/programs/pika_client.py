"""The scenario of clients_test.ts with pika. Usage: pika_client.py URL PREFIX"""

import sys
import time

import pika
from pika.exceptions import AMQPError, UnroutableError

url, prefix = sys.argv[1:3]
work, dead = prefix + ".work", prefix + ".dead"


def say(line):
    print(line, flush=True)


def connect():
    while True:
        try:
            return pika.BlockingConnection(pika.URLParameters(url))
        except AMQPError:
            time.sleep(0.1)


def publish(channel, key, body):
    properties = pika.BasicProperties(delivery_mode=2)
    channel.basic_publish("", key, body, properties, mandatory=True)


def deliveries(channel, queue, count):
    for method, properties, body in channel.consume(queue):
        yield method, properties, body.decode()
        count -= 1
        if count == 0:
            break
    channel.cancel()


connection = connect()
channel = connection.channel()
channel.confirm_delivery()
channel.queue_declare(dead, durable=True)
channel.queue_declare(
    work,
    durable=True,
    arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead},
)
for body in ("one", "two", "three"):
    publish(channel, work, body)
say("confirmed 3")

channel.basic_qos(prefetch_count=1)
for method, properties, body in deliveries(channel, work, 4):
    say("got %s %s" % (body, "again" if method.redelivered else "first"))
    if body == "three":
        channel.basic_nack(method.delivery_tag, requeue=False)
    elif body == "two" and not method.redelivered:
        channel.basic_nack(method.delivery_tag, requeue=True)
    else:
        channel.basic_ack(method.delivery_tag)
for method, properties, body in deliveries(channel, dead, 1):
    say("dead %s %s" % (body, properties.headers["x-death"][0]["reason"]))
    channel.basic_ack(method.delivery_tag)
try:
    publish(channel, prefix + ".nowhere", "lost")
except UnroutableError as error:
    say("returned %d" % error.messages[0].method.reply_code)
publish(channel, work, "four")
say("ready")

try:
    while True:
        connection.process_data_events(time_limit=1)
except AMQPError:
    say("cut")
connection = connect()
channel = connection.channel()
channel.confirm_delivery()
publish(channel, work, "five")
for method, properties, body in deliveries(channel, work, 2):
    say("after %s" % body)
    channel.basic_ack(method.delivery_tag)
connection.close()
say("done")
