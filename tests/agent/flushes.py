"""A flush by an application of one host is one at every host."""

import sys

from harness.run import run
from harness.verdicts import check, same, wait_until

# As an application that uses libssl: with the preloaded library, in a context of the same names.
_FLUSH = """
import ctypes, ssl, sys
libssl = ctypes.CDLL(sys.argv[1])
stock = ctypes.CDLL(ssl._ssl.__file__)
for name in ("TLS_server_method", "SSL_CTX_use_certificate_file"):
    assert getattr(stock, name)
stock.TLS_server_method.restype = libssl.SSL_CTX_new.restype = ctypes.c_void_p
context = ctypes.c_void_p(libssl.SSL_CTX_new(ctypes.c_void_p(stock.TLS_server_method())))
assert stock.SSL_CTX_use_certificate_file(context, sys.argv[2].encode(), 1) == 1
libssl.SSL_CTX_flush_sessions(context, ctypes.c_long(int(sys.argv[3])))
"""


def flush(host, until=0):
    """Another program of the host flushes the sessions of the same names."""
    scene = host.scene
    run(sys.executable, "-c", _FLUSH, scene.prepared.library, scene.files / "certificate.pem",
        until, env=host.server_environment())


def flushes(scene):
    a, b = scene.two_hosts()
    a.make("a", 20)
    b.make("b", 20)
    check("all resume at b", wait_until, 5, b.resumes, "a", 20)
    check("and at a", wait_until, 5, a.resumes, "b", 20)
    flush(a)
    check("after a flush at a none resumes there", same, 0, a.resumed("a", 20))
    check("none of b, either", same, 0, a.resumed("b", 20))
    check("nor at b", wait_until, 5, lambda: same(0, b.resumed("a", 20)))
    check("not its own", same, 0, b.resumed("b", 20))
    a.make("later", 20)
    check("what is made right after it resumes", a.resumes, "later", 20)
    check("and at b", wait_until, 5, b.resumes, "later", 20)
    b.make("there", 20)
    check("of b at a as well", wait_until, 5, a.resumes, "there", 20)
    c = scene.host("c")
    c.start_agent(tells=False)
    check("a new host is filled", c.agent.says_soon, "filled the store from the streams: .* in")
    check("with what was made after the flush", wait_until, 5, c.resumes, "later", 20)
    check("and without what was flushed", same, 0, c.resumed("a", 20))
    b.agent.process.kill()
    flush(a)
    b.start_agent()
    check("an agent that was away learns of it", wait_until, 5,
          lambda: same(0, b.resumed("later", 20)))
    check("and a host of another turn", wait_until, 5, lambda: same(0, c.resumed("later", 20)))
