"""Answers a Redis client as far as the pages in docs/ go: PING, SET and GET, on a Unix socket."""

import socketserver
import threading
from contextlib import contextmanager


class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            head = self.rfile.readline()
            if not head:
                return
            count = int(head[1:])
            words = [self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2] for _ in range(count)]
            self.wfile.write(self.answer(words[0].upper(), words[1:]))

    def answer(self, command, arguments):
        values = self.server.values
        if command == b"PING":
            return b"+PONG\r\n"
        if command == b"SET":
            values[arguments[0]] = arguments[1]
            return b"+OK\r\n"
        if command == b"GET":
            value = values.get(arguments[0])
            return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)
        if command == b"HELLO":  # newer clients begin with it
            return b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n"
        if command == b"CLIENT":  # the client introduces itself
            return b"+OK\r\n"
        return b"-ERR unknown command\r\n"


@contextmanager
def redis_server(path):
    """Listens on a socket at `path` while the block runs; gives its URL."""
    with socketserver.ThreadingUnixStreamServer(str(path), Connection) as server:
        server.daemon_threads = True
        server.values = {}
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            server.shutdown()
            thread.join()
