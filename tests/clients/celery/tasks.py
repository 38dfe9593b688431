"""Tasks that write down each run of theirs: a line of name and run number in the file RUNS."""

import os
import signal
import time

from celery import Celery

app = Celery("tasks", broker=os.environ["AMQP_URL"])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_default_queue=os.environ["QUEUE"],
    worker_prefetch_multiplier=1,
    broker_connection_retry=True,
    broker_connection_max_retries=None,
    broker_transport_options={"confirm_publish": True},
)


def note(name):
    """Returns how often the task of this name has run, this time included."""
    with open(os.environ["RUNS"], "a+b") as runs:
        runs.seek(0)
        number = sum(line.split()[0] == name.encode() for line in runs) + 1
        runs.write(f"{name} {number}\n".encode())
    return number


@app.task
def simple(name, *_):
    note(name)
    return name


@app.task(bind=True, max_retries=3)
def retried(self, name):
    """Fails at first."""
    if note(name) == 1:
        raise self.retry(countdown=1)


@app.task
def killed(name):
    """Takes its process along at first."""
    if note(name) == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@app.task
def held(name):
    """Runs until the file of its name is there."""
    note(name)
    while not os.path.exists(os.environ["RUNS"] + "." + name):
        time.sleep(0.05)
