"""Sends the tasks of the steps that its arguments name."""

import sys

from celery import chain, group

from tasks import held, killed, retried, simple


def waiting():
    for n in range(4):
        simple.apply_async((f"waiting-{n}",), countdown=3600)
    simple.delay("meanwhile")


def kinds():
    simple.apply_async(("countdown",), countdown=1)
    retried.delay("retried")
    killed.delay("killed")
    chain(simple.si(f"chain-{n}") for n in range(3)).apply_async()
    group(simple.si(f"group-{n}") for n in range(5)).apply_async()


def hold():
    held.delay("held")
    for n in range(5):
        simple.delay(f"behind-{n}")


def last():
    simple.delay("last")


for step in sys.argv[1:]:
    globals()[step]()
