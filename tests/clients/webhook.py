"""A receiver of notifications: a small HTTP server that keeps what it is sent."""

import http.server
import json
import socket
import ssl
import threading

from sluicegate import wait_until


class Webhook:
    """Listens on a port of the loopback address. `answers` are the statuses of the next calls; then it is 200."""

    def __init__(self, certificate=None):
        self.calls, self.answers = [], []
        self.take = None  # Is given the bodies as they came, which then need not be JSON.
        self.certificate = certificate
        self.port = 0
        self.start()

    def start(self):
        """Starts to listen, on the port it had before if there was one."""
        receiver = self
        self.connections = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                receiver.connections.append(self.connection)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.take:
                    receiver.take(body)
                else:
                    body = json.loads(body)
                status = receiver.answers.pop(0) if receiver.answers else 200
                receiver.calls.append((self.path, self.headers, body, status))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate.file, self.certificate.key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=[0.01])
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It has ended by itself.
        self.thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.stop()

    @property
    def url(self):
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}/hook?x=1"

    def events(self):
        """The records that were taken, in order, without test events."""
        return [record for _, _, body, status in self.calls if status == 200 for record in body.get("Records", [])]

    def wait(self, count):
        """Waits until so many records were taken, and returns them; there are not more."""
        wait_until(lambda: len(self.events()) >= count, f"{count} events at {self.calls}")
        events = self.events()
        assert len(events) == count, events
        return events
