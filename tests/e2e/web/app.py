"""A web application in plain Python: does tasks that come as requests.

usage: app.py LEDGER (PORT | SOCKET) [FRONT TASKS SENT]

Writes a line to LEDGER for each task that is done, before it answers. The body says what to answer:
"ok"; "404"; "429" (once, with Retry-After); "500"; "flaky" (500 at the first attempt); "cut" (in the
middle of the answer, at the first attempt); "slow" (never); "hang" (never at the first attempt).

With FRONT, the URL of a `new_task --http`, it sends the tasks of the file TASKS, a JSON object of
their bodies by id, and writes those that were taken to the file SENT, to go on from there.
"""

import http.server
import json
import os
import socketserver
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

ledger = open(sys.argv[1], "a", buffering=1)
lock = threading.Lock()
told_to_wait = set()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        task = urllib.parse.unquote(self.headers["Task-Id"])
        attempt = self.headers["Task-Attempt"]
        if body == "429" and task not in told_to_wait:
            told_to_wait.add(task)
            return self.answer(429, "not now", {"Retry-After": "1"})
        if body == "flaky" and attempt == "1":
            return self.answer(500, "not this time")
        if body in ("404", "500"):
            return self.answer(int(body), "cannot do " + task)
        if body == "slow" or body == "hang" and attempt == "1":
            time.sleep(600)
        with lock:
            ledger.write("%s %s %s\n" % (task, attempt, self.path))
        if body == "cut" and attempt == "1":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
            return None
        return self.answer(200, "done")

    def answer(self, status, text, headers={}):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def address_string(self):
        return "client"

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


class UnixServer(Server):
    address_family = getattr(__import__("socket"), "AF_UNIX")


def send_all(front, tasks, sent):
    """Sends the tasks one after the other, each until it is taken."""
    for task, body in tasks:
        request = urllib.request.Request(
            front, data=body.encode(), headers={"Idempotency-Key": task, "Content-Type": "text/plain"}
        )
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    assert answer.status == 202, answer.status
                break
            except urllib.error.HTTPError as refusal:
                assert refusal.code in (429, 503), refusal.read()
                time.sleep(int(refusal.headers["Retry-After"]))
            except OSError:
                time.sleep(0.1)
        with lock:
            sent.write(task + "\n")


def start_sending(front, tasks_path, sent_path):
    with open(tasks_path) as file:
        tasks = json.load(file)
    sent = open(sent_path, "a+", buffering=1)
    sent.seek(0)
    taken = set(sent.read().split())
    left = [(task, body) for task, body in tasks.items() if task not in taken]
    for start in range(4):
        threading.Thread(target=send_all, args=(front, left[start::4], sent), daemon=True).start()


where = sys.argv[2]
if "/" in where:
    if os.path.exists(where):
        os.unlink(where)
    server = UnixServer(where, Handler)
else:
    server = Server(("127.0.0.1", int(where)), Handler)
if len(sys.argv) > 3:
    start_sending(*sys.argv[3:6])
print("ready", flush=True)
server.serve_forever()
