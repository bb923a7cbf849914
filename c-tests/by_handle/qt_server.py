"""A server of Qt, which asks the handle of libssl for each function: qt_server.py CERTIFICATE KEY.

Serves five connections of `openssl s_client`, echoes a line on each, and prints how each went. Prints the
same on stock and with the overlay in front. Run by by_handle.sh.
"""
import os
import subprocess
import sys

from PyQt5.QtCore import QCoreApplication, QFile, QIODevice, QTimer
from PyQt5.QtNetwork import QHostAddress, QSsl, QSslCertificate, QSslKey, QSslSocket, QTcpServer

COUNT = 5
application = QCoreApplication(sys.argv[:1])
print("TLS:", QSslSocket.supportsSsl())


def content(path):
    file = QFile(path)
    file.open(QIODevice.ReadOnly)
    return file


certificate = QSslCertificate(content(sys.argv[1]), QSsl.Pem)
key = QSslKey(content(sys.argv[2]), QSsl.Ec, QSsl.Pem)


class Server(QTcpServer):
    sockets = []

    def incomingConnection(self, descriptor):
        socket = QSslSocket(self)
        socket.setSocketDescriptor(descriptor)
        socket.setLocalCertificate(certificate)
        socket.setPrivateKey(key)
        socket.encrypted.connect(lambda: print("encrypted"))
        socket.readyRead.connect(lambda: socket.write(socket.readAll()))
        socket.startServerEncryption()
        self.sockets.append(socket)


server = Server()
server.listen(QHostAddress.LocalHost)
environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.serverPort()}", "-quiet",
           "-no_ign_eof", "-sess_out", "session"]
clients = []


def next_client():
    """One after the other; each after the first offers the session of the one before."""
    if len(clients) == COUNT:
        application.quit()
        return
    offer = ["-sess_in", "session"] if clients else []
    clients.append(subprocess.Popen(command + offer, stdin=subprocess.PIPE, env=environment,
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
    clients[-1].stdin.write(b"hello\n")
    clients[-1].stdin.flush()
    wait(clients[-1])


def wait(client):
    os.set_blocking(client.stdout.fileno(), False)

    def look():
        echoed = client.stdout.read()
        if echoed is None:
            QTimer.singleShot(10, look)
            return
        print("echoed:", echoed)
        client.stdin.close()
        client.kill()
        client.wait()
        next_client()

    look()


QTimer.singleShot(0, next_client)
QTimer.singleShot(20000, application.quit)
application.exec_()
