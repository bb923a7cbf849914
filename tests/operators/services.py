"""The servers that every operator knows, and how a server of this test is described.

Debian's own configuration stays. Added is only the TLS of Debian's self-made certificate, where the package
has it commented out, and for Postfix the port 465.
"""

import re
from dataclasses import dataclass

CERTIFICATE = "/etc/ssl/certs/ssl-cert-snakeoil.pem"
KEY = "/etc/ssl/private/ssl-cert-snakeoil.key"

# The ways of a session: protocol, and whether it is in a ticket.
IDS, TICKETS, TLS13 = ("1.2", False), ("1.2", True), ("1.3", True)
# A ticket of TLS 1.3 that holds only an id: Debian turns tickets off in HAProxy and Apache.
TLS13_IDS = ("1.3", False)


@dataclass(frozen=True)
class Service:
    """name is `enable`'s. ways are those in which its clients can resume at all."""

    name: str
    unit: str               # as systemctl wants it
    package: str
    port: int
    ways: tuple
    setup: str
    application: str = "http"
    upgrades: bool = False  # whether its binary is upgraded at a reinstallation (USR2)
    serving: str = ""       # the name of the processes that serve, and end at a reload
    holds: str = ""         # of one that has the library for as long as the server runs
    kind: str = ""          # of its machine
    reloaded: str = ""      # a command that prints a number, which grows when a reload is done
    shows: bool = False     # whether its clients show a certificate
    starttls: str = ""      # the word of `openssl s_client -starttls` for it
    short: str = ""         # why not all resume, if that is so

    @property
    def own(self):
        """The name of its store and key file."""
        return re.sub(r"[^A-Za-z0-9._-]", "_", self.name)


SERVICES = (
    Service("nginx", "nginx", "nginx", 443, (TICKETS, TLS13), upgrades=True, serving="nginx", holds="nginx", setup="""
        sed -i 's/# listen 443 ssl/listen 443 ssl/; s/# include snippets.snakeoil/include snippets\\/snakeoil/' \\
            /etc/nginx/sites-available/default
        nginx -t"""),
    Service("haproxy", "haproxy", "haproxy", 8443, (IDS, TLS13_IDS), serving="haproxy", holds="haproxy", setup=f"""
        cat {CERTIFICATE} {KEY} >/etc/haproxy/both.pem
        chmod 600 /etc/haproxy/both.pem
        printf 'frontend f\\n bind :8443 ssl crt /etc/haproxy/both.pem\\n http-request return status 200\\n' \\
            >>/etc/haproxy/haproxy.cfg"""),
    Service("apache", "apache2", "apache2", 9443, (IDS, TLS13_IDS), serving="apache2", holds="apache2", setup="""
        a2enmod -q ssl
        a2ensite -q default-ssl
        sed -i 's/:443>/:9443>/' /etc/apache2/sites-available/default-ssl.conf
        printf 'Listen 9443\\n' >/etc/apache2/ports.conf"""),
    Service("dovecot", "dovecot", "dovecot-core", 993, (IDS, TICKETS, TLS13), application="imap",
            serving="imap-login", holds="dovecot", setup="doveconf -n >/dev/null"),
    Service("postfix", "postfix", "postfix", 465, (IDS, TICKETS, TLS13), application="smtp", serving="smtpd",
            holds="master", setup="printf 'smtps inet n - y - - smtpd -o smtpd_tls_wrappermode=yes\\n' "
                  ">>/etc/postfix/master.cf"),
)
