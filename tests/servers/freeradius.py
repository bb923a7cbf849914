"""FreeRADIUS from Debian's package: EAP-TLS and PEAP.

It keeps sessions in files of its own, and the attributes of a client beside them. Its callbacks
tell these by ex_data of the session. Such data cannot travel, so a store changes nothing: a session
resumes at the server whose files have it. At another one the handshake is a full one, and the
client is let in.
"""

from harness.packages import need

from . import eap
from .server import has_no_line, print_version

CONFIGURATION = """\
libdir = /usr/lib/freeradius
run_dir = {dir}
max_requests = 1024
thread pool {{
  start_servers = 2
  max_servers = 4
}}
security {{
  reject_delay = 0
  status_server = no
  allow_vulnerable_openssl = yes
}}
client local {{
  ipaddr = 127.0.0.1
  secret = {secret}
}}
modules {{
  mschap {{
  }}
  eap {{
    default_eap_type = peap
    tls-config common {{
      private_key_file = {pki}/server.key
      certificate_file = {pki}/server.pem
      ca_file = {pki}/ca.pem
      tls_min_version = "1.2"
      tls_max_version = "1.2"
      cache {{
        enable = yes
        lifetime = 24
        name = "eap"
        persist_dir = {dir}/{name}.cache
      }}
    }}
    tls {{
      tls = common
    }}
    peap {{
      tls = common
      default_eap_type = mschapv2
      virtual_server = inner
    }}
    mschapv2 {{
    }}
  }}
}}
server outer {{
  listen {{
    type = auth
    ipaddr = 127.0.0.1
    port = {port}
  }}
  authorize {{
    eap
  }}
  authenticate {{
    eap
  }}
}}
server inner {{
  authorize {{
    update control {{
      Cleartext-Password := "secret"
    }}
    mschap
    eap
  }}
  authenticate {{
    mschap
    eap
  }}
}}
"""


class Freeradius(eap.Radius):
    ready = "Ready to process requests"

    def configure(self):
        for row in self.rows:
            (self.dir / f"{row.config}.cache").mkdir()
            (self.dir / f"{row.config}.conf").write_text(CONFIGURATION.format(
                dir=self.dir, pki=self.pki, name=row.config, port=self.ports[row],
                secret=eap.SECRET))

    def launch(self):
        for row in self.rows:
            self.start("freeradius", "-f", "-l", "stdout", "-d", self.dir, "-n", row.config)

    def log_is_clean(self):
        return has_no_line("Error|ERROR", self.output)


def test(prepared, work):
    need("freeradius", "freeradius", "freeradius")
    print_version("freeradius", "-v", word="FreeRADIUS Version")
    eap.test("freeradius", Freeradius, ("1.2",), prepared, work)
