"""Which data connections an FTP server lets through that asks for a resumed session (vsftpd's
require_ssl_reuse): those that offer the session of their own control connection, of another
client's, or none.

    ftp_reuse.py PORT 1.2|1.3 COUNT     prints "own O, another's A, none N" out of COUNT each

Ends with 1 if anything else goes wrong.
"""

import ftplib
import ssl
import sys

TIMEOUT_SECONDS = 10


def client_context(protocol):
    """A context for exactly one protocol version, which checks no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[protocol]
    context.minimum_version = context.maximum_version = version
    context.options |= ssl.OP_NO_TICKET
    return context


class Client(ftplib.FTP_TLS):
    """A control connection, logged in."""

    def __init__(self, port, context):
        super().__init__(context=context, timeout=TIMEOUT_SECONDS)
        self.connect("127.0.0.1", port)
        self.login()
        self.prot_p()

    def session(self):
        return self.sock.session

    def is_let_through(self, session):
        """Lists the folder on a data connection that offers `session`."""
        connection, _ = ftplib.FTP.ntransfercmd(self, "LIST")
        with self.context.wrap_socket(connection, session=session) as data:
            reused = data.session_reused
            try:
                while data.recv(4096):
                    pass
            except ssl.SSLError:
                pass  # cut off: the control connection says why
        try:
            self.voidresp()
        except ftplib.error_perm as error:
            if not str(error).startswith("522 "):
                raise
            return False
        if not reused:
            raise RuntimeError("let through without a resumed session")
        return True


def main():
    port, protocol, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    context = client_context(protocol)
    own = anothers = none = 0
    for _ in range(count):
        # A refused data connection ends the control connection too.
        client, another, third, last = (Client(port, context) for _ in range(4))
        own += client.is_let_through(client.session())
        anothers += third.is_let_through(another.session())
        none += last.is_let_through(None)
        for each in (client, another, third, last):
            each.close()
    print(f"own {own}, another's {anothers}, none {none}")


main()
