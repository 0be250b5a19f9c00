"""A proxy before a PostgreSQL server that cuts a connection at a chosen message of the server."""

import os
import socket
import threading


def _read(sock, count):
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data


class Proxy:
    """Listens in `folder` as a server of port 5432 would; `arm` has it cut, once, what the server then answers.

    A message that it cuts has left the server, and so has everything before it: after the end of a commit the commit is
    there, and nobody was told.
    """

    def __init__(self, server, folder):
        self.server = server
        self.folder = str(folder)
        self._lock = threading.Lock()
        self._left = self._kind = None
        self._text = b""
        self.cut = None
        self.seen = []
        self.sent = b""
        self._open = set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.path.join(self.folder, ".s.PGSQL.5432"))
        self._listener.listen(64)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def arm(self, count, kind=None, text=b""):
        """Cuts the connection whose answer is the `count`-th message from now on; of a kind, with a text, if given."""
        with self._lock:
            self._left, self._kind, self._text, self.cut, self.seen = count, kind, text, None, []

    def disarm(self):
        """Whether it has cut; nothing is cut from now on."""
        with self._lock:
            self._left = None
            return self.cut is not None

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(os.path.join(str(self.server.folder), ".s.PGSQL.5432"))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            for work in (self._forward, self._answer):
                threading.Thread(target=work, args=(client, server), daemon=True).start()

    def _end(self, client, server):
        for sock in (client, server):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
        with self._lock:
            self._open -= {client, server}

    def _forward(self, client, server):
        try:
            while data := client.recv(65536):
                self.sent += data
                server.sendall(data)
        except OSError:
            pass
        self._end(client, server)

    def _answer(self, client, server):
        try:
            while True:
                head = _read(server, 5)
                body = _read(server, int.from_bytes(head[1:], "big") - 4)
                if self._cuts(head[:1], body):
                    break
                client.sendall(head + body)
        except OSError:
            pass
        self._end(client, server)

    def _cuts(self, kind, body):
        with self._lock:
            if self._left is None:
                return False
            self.seen.append((kind, body.rstrip(b"\0") if kind == b"C" else b""))
            self._left -= self._kind in (None, kind) and body.startswith(self._text)
            if self._left > 0:
                return False
            self._left, self.cut = None, self.seen[-1]
            return True

    def close(self):
        self._listener.close()
        with self._lock:
            left = list(self._open)
        for sock in left:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
