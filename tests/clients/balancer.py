"""A TCP balancer: one port of 127.0.0.1, behind which connections go to its hosts in turn.

A client sees one server, as it does of a fleet."""

import contextlib
import itertools
import socket
import threading


class Balancer:
    def __init__(self, ports, hold):
        """ports: of the hosts. hold: called before a connection goes on to its host."""
        self._hold = hold
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(itertools.cycle(ports),), daemon=True).start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self, ports):
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(near, next(ports)),
                                 daemon=True).start()

    def _join(self, near, port):
        with near, contextlib.suppress(OSError):
            self._hold()
            with socket.create_connection(("127.0.0.1", port)) as far:
                back = threading.Thread(target=_pump, args=(far, near), daemon=True)
                back.start()
                _pump(near, far)
                back.join()


def _pump(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
