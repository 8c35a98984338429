"""Web servers in this process, on ports of their own, that write nothing to the terminal."""

import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class Quiet(SimpleHTTPRequestHandler):
    """Serves the files of a folder, read-only."""

    def log_message(self, *arguments):
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # of five, others try again after a second


@contextmanager
def served(folder, handler=Quiet):
    """The address of a server of a folder, `127.0.0.1:port`."""

    def handle(*arguments):
        return handler(*arguments, directory=str(folder))

    with _Server(("127.0.0.1", 0), handle) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
