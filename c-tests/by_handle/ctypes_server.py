"""Python's ctypes, which asks libssl's handle for each function: a server that resumes.

Prints the same on stock and with the overlay in front. Run by by_handle.sh: CERTIFICATE LIBSSL.
"""
import ctypes
import sys

libssl = ctypes.CDLL(sys.argv[2])
for name in "SSL_CTX_new TLS_server_method TLS_client_method SSL_new SSL_get1_session".split():
    getattr(libssl, name).restype = ctypes.c_void_p
libcrypto = ctypes.CDLL(sys.argv[2].replace("libssl", "libcrypto"))
pointer = ctypes.c_void_p
NEW = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer)
REMOVE = ctypes.CFUNCTYPE(None, pointer, pointer)
calls = {"new": 0, "remove": 0}


@NEW
def on_new(_ssl, _session):
    calls["new"] += 1
    return 0


@REMOVE
def on_remove(_ctx, _session):
    calls["remove"] += 1


def new_server(version):
    ctx = pointer(libssl.SSL_CTX_new(pointer(libssl.TLS_server_method())))
    for command in 123, 124:  # SSL_CTRL_SET_MIN_PROTO_VERSION, _MAX_
        libssl.SSL_CTX_ctrl(ctx, command, ctypes.c_long(version), None)
    libssl.SSL_CTX_set_options(ctx, ctypes.c_uint64(1 << 14))  # SSL_OP_NO_TICKET
    for use in libssl.SSL_CTX_use_certificate_file, libssl.SSL_CTX_use_PrivateKey_file:
        assert use(ctx, sys.argv[1].encode(), 1) == 1
    libssl.SSL_CTX_sess_set_new_cb(ctx, on_new)
    libssl.SSL_CTX_sess_set_remove_cb(ctx, on_remove)
    return ctx


def connect(server, client, offered):
    at_server, at_client = pointer(libssl.SSL_new(server)), pointer(libssl.SSL_new(client))
    up, down = pointer(), pointer()
    size = ctypes.c_size_t(65536)
    assert libcrypto.BIO_new_bio_pair(ctypes.byref(up), size, ctypes.byref(down), size) == 1
    libssl.SSL_set_bio(at_server, up, up)
    libssl.SSL_set_bio(at_client, down, down)
    libssl.SSL_set_accept_state(at_server)
    libssl.SSL_set_connect_state(at_client)
    if offered:
        libssl.SSL_set_session(at_client, offered)
    for _ in range(10):
        libssl.SSL_do_handshake(at_client)
        libssl.SSL_do_handshake(at_server)
    byte = ctypes.create_string_buffer(1)
    libssl.SSL_write(at_server, b"x", 1)
    libssl.SSL_read(at_client, byte, 1)
    result = libssl.SSL_session_reused(at_server), pointer(libssl.SSL_get1_session(at_client))
    for end in at_server, at_client, at_server, at_client:
        libssl.SSL_shutdown(end)
    for end in at_server, at_client:
        libssl.SSL_free(end)
    return result


for tls in 0x303, 0x304:
    ctx_server = new_server(tls)
    ctx_client = pointer(libssl.SSL_CTX_new(pointer(libssl.TLS_client_method())))
    first, session = connect(ctx_server, ctx_client, None)
    print(hex(tls), "resumed:", first, connect(ctx_server, ctx_client, session)[0], calls)
