"""client.py URL COUNT CA: one context, and the session of the connection before."""

import socket
import ssl
import sys
from urllib.parse import urlsplit

url, count, authority = sys.argv[1:]
place = urlsplit(url)
context = ssl.create_default_context(cafile=authority)
session = None
for _ in range(int(count)):
    with socket.create_connection((place.hostname, place.port)) as raw, context.wrap_socket(
            raw, server_hostname=place.hostname, session=session) as connection:
        connection.sendall(f"GET {place.path} HTTP/1.0\r\n\r\n".encode())
        while connection.recv(4096):
            pass
        session = connection.session
