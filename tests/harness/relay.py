"""A TCP relay in threads of this process, which ends connections in good order after a while, as
load balancers and proxies do."""

import contextlib
import select
import socket
import threading
import time


@contextlib.contextmanager
def relay(port, lifetime):
    """Relays to this port of 127.0.0.1. Yields its own port, and a list of the connections that it
    has ended."""
    ended = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, port, lifetime, ended),
                         daemon=True).start()
        yield listener.getsockname()[1], ended
        # Wakes the thread, which close() alone would not.
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener, port, lifetime, ended):
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, port, lifetime, ended),
                             daemon=True).start()


def _serve(client, port, lifetime, ended):
    end = time.monotonic() + lifetime
    with contextlib.suppress(OSError), client, \
            socket.create_connection(("127.0.0.1", port)) as server:
        others = {client: server, server: client}
        while (left := end - time.monotonic()) > 0:
            for one in select.select(list(others), [], [], left)[0]:
                data = one.recv(65536)
                if not data:
                    return
                others[one].sendall(data)
        ended.append(client)
