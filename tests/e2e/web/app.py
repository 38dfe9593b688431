"""A web application in plain Python: does tasks that come as requests.

usage: app.py LEDGER (PORT | SOCKET)

Writes a line to LEDGER for each task that is done, before it answers. The body says what to answer:
"ok"; "404"; "429" (once, with Retry-After); "500"; "flaky" (500 at the first attempt); "cut" (in the
middle of the answer, at the first attempt); "slow" (never); "hang" (never at the first attempt).
"""

import http.server
import os
import socketserver
import sys
import threading
import time
import urllib.parse

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


where = sys.argv[2]
if "/" in where:
    if os.path.exists(where):
        os.unlink(where)
    server = UnixServer(where, Handler)
else:
    server = Server(("127.0.0.1", int(where)), Handler)
print("ready", flush=True)
server.serve_forever()
