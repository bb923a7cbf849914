"""memcached from Debian's package with `ssl_session_cache`: one process with threads, its own user.

Its new_cb counts sessions and returns 0. Every OpenSSL keeps them cached all the same, and memcached
relies on that. Nobody has told it of the library, so preloaded 0 keeps them, too.

On stock and preloaded:
- all, also after the text command `refresh_certs`, which keeps the context.
- With SESSCACHE_NEW_CB_ZERO=remove, the rule of OpenSSL's manual, none preloaded.

With a store, every session that resumes at all resumes always.
"""

import socket
import ssl

from harness.packages import need, need_root

from .server import AS_DEBIAN_DOES, Server, copy_for, print_version
from .ways import Row, run_rows

USUAL, BY_THE_MANUAL = "memcached", "memcached, NEW_CB_ZERO=remove"
ROWS = (
    Row(USUAL, "threads", "all all all", "all all all"),
    Row(BY_THE_MANUAL, "threads", "all none all", "all none all"),
)
USER = "memcache"


class Memcached(Server):
    workers_wanted = 1

    def _env_of_way(self):
        env = super()._env_of_way()
        manual = self.setup == BY_THE_MANUAL and self.way != "stock"
        return env | {"SESSCACHE_NEW_CB_ZERO": "remove"} if manual else env

    def configure(self):
        copy_for(USER, self.work / "key.pem", self.dir)

    def launch(self):
        files = f"ssl_chain_cert={self.work}/certificate.pem,ssl_key={self.dir}/key.pem"
        self.start_ticketless("memcached", "-u", USER, "-l", "127.0.0.1",
                              "-p", self.ports[self.rows[0]], "-U", 0, "-t", 2, "-Z",
                              "-o", f"{files},ssl_session_cache")

    def serving(self):
        return self.mains

    def client_for(self, name):
        return self.client.of(application="memcached")

    def reload(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.ports[self.rows[0]]), timeout=10) as plain:
            with context.wrap_socket(plain) as connection:
                connection.sendall(b"refresh_certs\r\n")
                answer = connection.recv(100)
        assert answer == b"OK\r\n", answer


def test(prepared, work):
    need("memcached", "memcached", "memcached")
    need_root(AS_DEBIAN_DOES)
    print_version("memcached", "-V")
    run_rows(Memcached, ROWS, prepared, work)
