"""The bench's peer on pika: the same work as go/peer.go, with the same output.

    pika_peer.py publish|consume URL QUEUE COUNT WINDOW SIZE
"""
import resource
import sys
import time

import pika


def publish(parameters, queue, count, window, size):
    """A window of unconfirmed messages needs the asynchronous connection."""
    body = b"x" * size
    properties = pika.BasicProperties(delivery_mode=2, content_type="text/plain")
    state = {"sent": 0, "confirmed": 0, "started": 0.0, "seconds": 0.0}

    def send(channel):
        while state["sent"] < count and state["sent"] - state["confirmed"] < window:
            state["sent"] += 1
            channel.basic_publish("", queue, body, properties, mandatory=True)

    def on_confirm(frame):
        method = frame.method
        if method.NAME != "Basic.Ack":
            sys.exit("message %d was refused" % method.delivery_tag)
        state["confirmed"] = (
            method.delivery_tag if method.multiple else state["confirmed"] + 1
        )
        if state["confirmed"] >= count:
            state["seconds"] = time.monotonic() - state["started"]
            connection.close()
        else:
            send(channel_of[0])

    channel_of = []

    def on_channel(channel):
        channel_of.append(channel)
        channel.confirm_delivery(on_confirm, callback=on_select)

    def on_select(_frame):
        state["started"] = time.monotonic()
        send(channel_of[0])

    connection = pika.SelectConnection(
        parameters,
        on_open_callback=lambda opened: opened.channel(on_open_callback=on_channel),
        on_open_error_callback=lambda _connection, error: sys.exit(str(error)),
        on_close_callback=lambda closed, _reason: closed.ioloop.stop(),
    )
    connection.ioloop.start()
    if state["confirmed"] < count:
        sys.exit("the connection ended after %d confirms" % state["confirmed"])
    return state["seconds"]


def consume(parameters, queue, count, window):
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.basic_qos(prefetch_count=window)
    started = None
    done = 0
    for method, _properties, _body in channel.consume(queue):
        started = started or time.monotonic()
        channel.basic_ack(method.delivery_tag)
        done += 1
        if done == count:
            break
    seconds = time.monotonic() - started
    connection.close()
    return seconds


def main():
    mode, url, queue = sys.argv[1:4]
    count, window, size = map(int, sys.argv[4:7])
    # pika reads the trailing slash of a URL as the virtual host "".
    parameters = pika.URLParameters(url.rstrip("/") + "/%2F")
    if mode == "publish":
        seconds = publish(parameters, queue, count, window, size)
    else:
        seconds = consume(parameters, queue, count, window)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("%.6f %d 0" % (seconds, peak))


main()
