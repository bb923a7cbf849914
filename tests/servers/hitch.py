"""hitch from Debian's package: two workers, chroot, its own user.

On stock and preloaded:
- OpenSSL's own cache in each worker, as it is when nobody sets anything: about half.
- A reload starts new workers: none.

With a store, every session that resumes at all resumes always.
"""

import signal
from functools import partial

from harness.packages import need, need_root

from .server import AS_DEBIAN_DOES, Server, has_no_line, print_version, start_backend
from .ways import Row, run_rows

ROWS = (
    Row("hitch", "2 workers", "some some all", "none none all"),
)

CONFIGURATION = """\
frontend = "[127.0.0.1]:{port}"
backend = "[127.0.0.1]:{backend}"
pem-file = "{work}/both.pem"
workers = 2
daemon = off
user = "_hitch"
group = "_hitch"
chroot = "{dir}/empty"
ocsp-dir = ""
tls-protos = TLSv1.2 TLSv1.3
"""


class Hitch(Server):
    def __init__(self, *given, backend):
        super().__init__(*given)
        self.backend = backend

    def configure(self):
        (self.dir / "empty").mkdir()
        (self.dir / "hitch.conf").write_text(CONFIGURATION.format(
            dir=self.dir, work=self.work, port=self.ports[self.rows[0]], backend=self.backend))

    def launch(self):
        self.start_ticketless("hitch", f"--config={self.dir}/hitch.conf")

    def reload(self):
        self.test_configuration("hitch", "--test", f"--config={self.dir}/hitch.conf")
        self.replace_workers(signal.SIGHUP)

    def log_is_clean(self):
        return has_no_line("(?i)SSL error|died|core:", self.output)


def test(prepared, work):
    need("hitch", "hitch", "hitch")
    need_root(AS_DEBIAN_DOES)
    print_version("hitch", "--version")
    run_rows(partial(Hitch, backend=start_backend(work)), ROWS, prepared, work)
