"""The clients: how each is built and run, what is expected of it, and what its user can set.

A program takes URL COUNT CA, and asks for the URL so often, each time on a new connection. It keeps
sessions as its users' programs do: in one handle, one agent, one context."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from harness.built import ROOT
from harness.packages import need
from harness.run import run

PROGRAMS = Path(__file__).parent / "programs"
RUST_TARGET = ROOT / "target" / "check"  # which `make check` fills, too
SYSTEM_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Client:
    name: str       # of the part
    title: str      # on the page
    program: tuple  # the command; {work}: where it was built, {programs}: the sources
    needs: tuple    # (program or file, Debian's package) each
    ask_version: tuple
    user: str       # what a user can set
    compile: tuple = ()
    env: dict = field(default_factory=dict)
    quick: bool = True  # apt installs it within a minute: it is run in CI
    cannot: dict = field(default_factory=dict)  # by mode: why it does not connect
    fewer: dict = field(default_factory=dict)   # by mode: (how many of 10 resume, why not 9)

    def build(self, work):
        """Sees to its packages, and compiles it; the words of the command."""
        for program, package in self.needs:
            need(program, package)
        if self.compile:
            run(*self._filled(self.compile, work), seconds=300, cwd=work)
        return self._filled(self.program, work)

    def version(self):
        said = run(*self.ask_version, status=None)
        return re.search(r"\d+\.\d+[.\w]*", said)[0]

    def environment(self, files):
        return {name: value.format(files=files) for name, value in self.env.items()}

    def expected(self, mode):
        return self.fewer[mode][0] if mode in self.fewer else 9

    def whys(self):
        """By mode: the reason why it resumes less than others."""
        return self.cannot | {mode: why for mode, (_, why) in self.fewer.items()}

    @staticmethod
    def _filled(words, work):
        return [word.format(work=work, programs=PROGRAMS) for word in words]


def compiled(name, *libraries):
    """For a C program: how it is compiled and called."""
    return {"compile": ("cc", "-O1", "-Wall", "-Wextra", "-Werror", f"{{programs}}/{name}.c",
                        "-o", f"{{work}}/{name}", *libraries),
            "program": (f"{{work}}/{name}",)}


CLIENTS = (
    Client(
        "curl", "curl, with OpenSSL", ("{programs}/curl.sh",), (("curl", "curl"),),
        ("curl", "--version"),
        "Nothing is needed within one command or handle. `--no-sessionid` ends resumption.",
        fewer={"1.2 tickets": (0, "curl 7.88 asks for none in TLS 1.2: SSL_OP_NO_TICKET")}),
    Client(
        "curl-gnutls", "libcurl, with GnuTLS", (SYSTEM_PYTHON, "{programs}/libcurl.py"),
        ((SYSTEM_PYTHON, "python3"), ("/usr/lib/python3/dist-packages/pycurl*.so",
                                      "python3-pycurl")),
        (SYSTEM_PYTHON, "-c", "import pycurl; print(pycurl.version_info()[1])"),
        "Nothing helps in TLS 1.3 but a later version, or the build with OpenSSL.",
        fewer=dict.fromkeys(("1.2 tickets", "1.3 stateful", "1.3 tickets", "defaults"),
                            (0, "curl 7.88 sets GNUTLS_NO_TICKETS, and TLS 1.3 has nothing else"))),
    Client(
        "openssl", "openssl s_client", ("{programs}/s_client.sh",), (("openssl", "openssl"),),
        ("openssl", "version"),
        "`-sess_out FILE` keeps the last session, `-sess_in FILE` offers it."),
    Client(
        "python", "Python, module ssl", (SYSTEM_PYTHON, "{programs}/client.py"),
        ((SYSTEM_PYTHON, "python3"),), (SYSTEM_PYTHON, "--version"),
        "`wrap_socket(session=last.session)`, after an answer was read. urllib has no setting:"
        " it resumes nothing."),
    Client(
        "ruby", "Ruby, Net::HTTP", ("ruby", "{programs}/client.rb"), (("ruby", "ruby"),),
        ("ruby", "--version"), "One Net::HTTP object, started again, offers its last session."),
    Client(
        "node", "Node.js, https", ("node", "{programs}/client.js"), (("node", "nodejs"),),
        ("node", "--version"),
        "One `https.Agent` keeps a session for each host: `maxCachedSessions`, 100 by default, 0 is none."),
    Client(
        "go", "Go, net/http", ("{work}/go",), (("go", "golang-go"),), ("go", "version"),
        "`tls.Config.ClientSessionCache = tls.NewLRUClientSessionCache(0)`. Without it Go resumes"
        " nothing.",
        compile=("go", "build", "-o", "{work}/go", "{programs}/client.go"),
        fewer={"1.2 ids": (0, "Go's client knows no resumption by id")}),
    Client(
        "java", "Java, HttpsURLConnection", ("java", "-cp", "{work}", "Client"),
        (("javac", "default-jdk-headless"),), ("java", "-version"),
        "One `SSLContext`: `getClientSessionContext()` has size and timeout."
        " `-Djdk.tls.client.enableSessionTicketExtension=false` ends tickets in TLS 1.2.",
        compile=("javac", "-d", "{work}", "{programs}/Client.java")),
    Client(
        "gnutls", "GnuTLS",
        user="`gnutls_session_get_data2` after an answer was read, `gnutls_session_set_data`"
        " before the next handshake.",
        ask_version=("gnutls-cli", "--version"),
        needs=(("cc", "gcc"), ("/usr/include/gnutls/gnutls.h", "libgnutls28-dev"),
               ("gnutls-cli", "gnutls-bin")),
        **compiled("gnutls", "-lgnutls")),
    Client(
        "nss", "NSS, as in Firefox",
        user="`SSL_ENABLE_SESSION_TICKETS` is off at first, and tickets in TLS 1.2 need it. The"
        " cache is the process's.",
        ask_version=("sed", "-n", "s/^#define NSS_VERSION //p", "/usr/include/nss/nss.h"),
        needs=(("cc", "gcc"), ("/usr/include/nss/nss.h", "libnss3-dev")), quick=False,
        **compiled("nss", "-I/usr/include/nspr", "-I/usr/include/nss", "-lnss3", "-lssl3",
                   "-lsmime3", "-lnspr4")),
    Client(
        "wolfssl", "wolfSSL",
        user="`wolfSSL_get1_session` after an answer was read, `wolfSSL_set_session` before the"
        " next handshake.",
        ask_version=("sed", "-n", "s/^#define LIBWOLFSSL_VERSION_STRING //p",
                     "/usr/include/wolfssl/version.h"),
        needs=(("cc", "gcc"), ("/usr/include/wolfssl/ssl.h", "libwolfssl-dev")), quick=False,
        fewer={"1.2 tickets": (0, "it is not asked for tickets: with `wolfSSL_UseSessionTicket`"
                               " 5.5.4 ends the next handshake, on stock too")},
        **compiled("wolfssl", "-lwolfssl")),
    Client(
        "mbedtls", "Mbed TLS",
        user="`mbedtls_ssl_get_session` and `mbedtls_ssl_set_session`.",
        ask_version=("sed", "-n", "s/^#define MBEDTLS_VERSION_STRING //p",
                     "/usr/include/mbedtls/version.h"),
        needs=(("cc", "gcc"), ("/usr/include/mbedtls/ssl.h", "libmbedtls-dev")), quick=False,
        cannot=dict.fromkeys(("1.3 stateful", "1.3 tickets"), "Mbed TLS 2.28 has no TLS 1.3"),
        **compiled("mbedtls", "-lmbedtls", "-lmbedx509", "-lmbedcrypto")),
    Client(
        "rustls", "rustls", (f"{RUST_TARGET}/debug/rustls-client",), (("cargo", "cargo"),),
        ("grep", "-A", "1", 'name = "rustls"', PROGRAMS / "rustls/Cargo.lock"),
        "One `ClientConfig`: its `resumption` is a cache of 256 servers; `Resumption::disabled()`.",
        compile=("cargo", "build", "--quiet", "--locked", "--manifest-path",
                 "{programs}/rustls/Cargo.toml", "--target-dir", str(RUST_TARGET)), quick=False),
    Client(
        "chromium", "Chromium, headless", ("{programs}/chromium.sh",),
        (("chromium", "chromium"), ("certutil", "libnss3-tools")), ("chromium", "--version"),
        "Nothing is needed. Its cache is the process's.",
        quick=False),
)
