"""Python's ssl, whose module brings libssl in: handshakes over memory, and session_stats().

Prints the same on stock and on sesscache, but for the line `active`. Run by modules.sh.
"""
import ctypes
import ssl


def contexts(version):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain("certificate.pem", "key.pem")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    for context in server, client:
        context.minimum_version = context.maximum_version = version
        context.options |= ssl.OP_NO_TICKET
    if hasattr(server, "num_tickets"):
        server.num_tickets = 1
    return server, client


def connect(server, client, session=None):
    """A handshake, a byte each way, a clean close: (resumed, the client's session)."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    at_server = server.wrap_bio(up, down, server_side=True)
    at_client = client.wrap_bio(down, up, session=session)

    def drive(step):
        try:
            return step()
        except ssl.SSLWantReadError:
            return None

    for _ in range(5):
        drive(at_client.do_handshake)
        drive(at_server.do_handshake)
    at_client.write(b"x")
    at_server.write(at_server.read(1))
    assert at_client.read(1) == b"x"
    assert at_client.session_reused == at_server.session_reused
    result = at_client.session_reused, at_client.session
    for end in at_client, at_server, at_client:
        drive(end.unwrap)
    return result


def is_active(context):
    """The SSL_CTX is the first thing in CPython's object after its head."""
    process = ctypes.CDLL(None)
    if not hasattr(process, "sesscache_is_active"):
        return None
    ctx = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    return process.sesscache_is_active(ctx)


def live(version):
    server, client = contexts(version)
    if version == ssl.TLSVersion.TLSv1_2:
        print("active:", is_active(server), is_active(client))
    print("at first:", server.session_stats())
    _, session = connect(server, client)
    print("full:", server.session_stats())
    print("resumed:", connect(server, client, session)[0], server.session_stats())
    other, _ = contexts(version)
    print("elsewhere:", connect(other, client, session)[0], other.session_stats())


for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
    print(version.name)
    live(version)
