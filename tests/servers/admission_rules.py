"""The table of the part `admission`: for each server its rules, how they change, and what comes of
the clients. admission.py takes the servers through the stages; admission_servers.py runs them.

A rule is configuration, in the server's own words, before and after the change:

  {pki}      the folder of all certificates, authorities and lists
  {dir}      the server's own folder
  {outside}  the port where strangers are led
"""

from dataclasses import dataclass, replace

# What comes of a client who offers a session that was made before the start.
RESUMED = "resumed"  # on stock after a start: full
FULL = "full"        # let in by a full handshake: asked for a certificate, if that is the rule
REFUSED = "refused"  # a full handshake, and an alert or an error of the application
UNSEEN = "unseen"    # resumed, but on stock after a start: refused
LET_IN = "let in"    # full, but in TLS 1.3 a pre-shared key of one's own counts as resumed, too

OLD_CIPHER, NEW_CIPHER = "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"
CIPHERS = f"{OLD_CIPHER}:{NEW_CIPHER}"
VERSIONS = ("1.2", "1.3")


@dataclass(frozen=True)
class Rule:
    """What comes of a client has a word for a start that changes nothing (`same`) and one for all
    that follows the change (`then`). admission.make_clients makes the clients; "" has no
    certificate."""

    name: str
    before: str
    after: str
    client: str  # whose standing changes
    then: str = REFUSED
    same: str = RESUMED
    shows: str | None = None  # the client after the change, if it has another certificate then
    other: str | None = "good"  # whose standing does not change
    others_then: str = RESUMED
    others_same: str = RESUMED
    ciphers: tuple = ("", "")  # must be used before and after the change; "" is any
    reload_knows: bool = True  # else it changes nothing, and a start is needed
    reload_may_shut: bool = False  # or lets nobody in until then, if it does so on stock
    new_context: bool = False  # the certificate, the CAs or how clients are verified is another
    renews: bool = False  # the server's certificate is another one after the change
    protocols: tuple = VERSIONS


def no_more_unknown(name, before, after):
    """A client was let in that failed to verify. Such a session is nobody else's."""
    return Rule(name, before, after, "stranger", same=FULL, new_context=True)


def asks_from_now_on(before, after):
    return Rule("asks from now on", before, after, "", then=FULL, shows="good", other=None)


def optional_no_more(before, after):
    """A client was asked and had no certificate. Such a session is nobody else's."""
    return Rule("optional no more", before, after, "", then=FULL, same=FULL, shows="good",
                new_context=True)


def renewed(before=""):
    return Rule("renewed", before, before, "", then=RESUMED, other=None, renews=True,
                new_context=True)


def in_a_new_context(rule):
    """The rule at a server whose session id context says what `new_context` is about."""
    if not rule.new_context:
        return rule
    return replace(rule, then=FULL if rule.then == RESUMED else rule.then, others_then=FULL)


def cipher_removed(before, after):
    return Rule("cipher removed", before, after, "", then=FULL, other=None,
                ciphers=(OLD_CIPHER, NEW_CIPHER), protocols=("1.2",))


def user_removed(before, after):
    """Of pre-shared keys. Such a session is nobody else's."""
    return Rule("user removed", before, after, "bob", same=LET_IN, other="alice",
                others_same=LET_IN, others_then=LET_IN)


# --- nginx --------------------------------------------------------------------------------------

_NGINX_CAS = "ssl_client_certificate {{pki}}/{}.pem; "
_NGINX_ON = "ssl_verify_client on; " + _NGINX_CAS.format("clients")
_NGINX_BOTH = "ssl_verify_client on; " + _NGINX_CAS.format("both_cas")
_NGINX_CHAIN = "ssl_verify_client on; " + _NGINX_CAS.format("chain")
NGINX = (
    Rule("revoked", _NGINX_ON + "ssl_crl {pki}/none.crl;", _NGINX_ON + "ssl_crl {pki}/one.crl;",
         "revoked"),
    Rule("CA removed", _NGINX_BOTH, _NGINX_ON, "moved"),
    Rule("depth lowered", _NGINX_CHAIN + "ssl_verify_depth 1;",
         _NGINX_CHAIN + "ssl_verify_depth 0;", "far"),
    Rule("level raised", _NGINX_ON + "ssl_ciphers DEFAULT:@SECLEVEL=1;",
         _NGINX_ON + "ssl_ciphers DEFAULT:@SECLEVEL=2;", "weak"),
    optional_no_more(_NGINX_ON.replace(" on;", " optional;"), _NGINX_ON),
    no_more_unknown("no_ca no more", _NGINX_ON.replace(" on;", " optional_no_ca;"), _NGINX_ON),
    asks_from_now_on("", _NGINX_ON),
    cipher_removed(f"ssl_prefer_server_ciphers on; ssl_ciphers {CIPHERS};",
                   f"ssl_ciphers {NEW_CIPHER};"),
    renewed(),
)
# nginx hashes its certificates, and the names of the CAs, into the session id context.
NGINX_ALONE = (
    NGINX[0],
    Rule("CA removed", _NGINX_BOTH, _NGINX_ON, "moved", others_then=FULL),
    Rule("renewed", "", "", "", then=FULL, other=None, renews=True),
)

# --- HAProxy ------------------------------------------------------------------------------------

_HAPROXY_ON = "verify required ca-file {pki}/clients.pem "
HAPROXY = (
    Rule("revoked", _HAPROXY_ON + "crl-file {pki}/none.crl", _HAPROXY_ON + "crl-file {pki}/one.crl",
         "revoked"),
    Rule("CA removed", "verify required ca-file {pki}/both_cas.pem", _HAPROXY_ON, "moved",
         new_context=True),
    Rule("level raised", _HAPROXY_ON + "ciphers DEFAULT:@SECLEVEL=1",
         _HAPROXY_ON + "ciphers DEFAULT:@SECLEVEL=2", "weak"),
    optional_no_more(_HAPROXY_ON.replace("required", "optional"), _HAPROXY_ON),
    no_more_unknown("ignores no more", _HAPROXY_ON + "ca-ignore-err all crt-ignore-err all",
                    _HAPROXY_ON),
    asks_from_now_on("", _HAPROXY_ON),
    cipher_removed(f"ciphers {CIPHERS}", f"ciphers {NEW_CIPHER}"),
    renewed(),
)
# HAProxy 3.2 hashes what `new_context` is about into the session id context. These listeners of one
# process, which has one cache for all, tell whether this one does.
HAPROXY_ASKED = (
    Rule("made", "verify optional ca-file {pki}/clients.pem", "", ""),
    Rule("the same", "verify optional ca-file {pki}/clients.pem", "", ""),
    Rule("another CA", "verify optional ca-file {pki}/others.pem", "", ""),
)
HAPROXY_OURS = tuple(rule for rule in HAPROXY if rule.name in ("CA removed", "renewed"))

# --- Apache -------------------------------------------------------------------------------------

_APACHE_ON = "SSLVerifyClient require\nSSLCACertificateFile {pki}/clients.pem\n"
_APACHE_CHECKS = _APACHE_ON + "SSLCARevocationCheck chain\nSSLCARevocationFile {pki}/"
_APACHE_CHAIN = _APACHE_ON.replace("clients.pem", "chain.pem") + "SSLVerifyDepth "
# mod_ssl counts the depth in its verify callback, which is not called for a foreign session.
_APACHE_DEPTH = Rule("depth lowered", _APACHE_CHAIN + "2", _APACHE_CHAIN + "1", "far", then=UNSEEN)
APACHE = (
    Rule("revoked", _APACHE_CHECKS + "none.crl", _APACHE_CHECKS + "one.crl", "revoked"),
    Rule("CA removed", _APACHE_ON.replace("clients.pem", "both_cas.pem"), _APACHE_ON, "moved"),
    _APACHE_DEPTH,
    optional_no_more(_APACHE_ON.replace("require", "optional"), _APACHE_ON),
    no_more_unknown("no_ca no more", _APACHE_ON.replace("require", "optional_no_ca"), _APACHE_ON),
    asks_from_now_on("", _APACHE_ON),
    cipher_removed(f"SSLHonorCipherOrder on\nSSLCipherSuite {CIPHERS}",
                   f"SSLCipherSuite {NEW_CIPHER}"),
    renewed(),
)
APACHE_NEVER = (
    replace(_APACHE_DEPTH, then=REFUSED, same=FULL, others_same=FULL, others_then=FULL),
)

# --- stunnel ------------------------------------------------------------------------------------

_STUNNEL_ON = "verifyChain = yes\nCAfile = {pki}/clients.pem\n"
_STUNNEL_SECRETS = "ciphers = PSK\nPSKsecrets = {pki}/"
_STUNNEL_LEADS = _STUNNEL_ON + "redirect = 127.0.0.1:{outside}\n"
STUNNEL = (
    Rule("revoked in a folder", _STUNNEL_ON + "CRLpath = {dir}/crls",
         _STUNNEL_ON + "CRLpath = {dir}/crls", "revoked"),
    Rule("CA removed from a folder", "verifyChain = yes\nCApath = {dir}/cas",
         "verifyChain = yes\nCApath = {dir}/cas", "moved"),
    # A stranger is led outside all the time, where there is no page.
    Rule("redirect", _STUNNEL_LEADS, _STUNNEL_LEADS, "stranger", same=REFUSED),
    asks_from_now_on("", _STUNNEL_ON),
    user_removed(_STUNNEL_SECRETS + "both.psk", _STUNNEL_SECRETS + "alice.psk"),
)

# --- Dovecot ------------------------------------------------------------------------------------

# It asks on the connection and sets no session id context, so libssl resumes nothing there.
_DOVECOT_ON = "ssl_verify_client_cert = yes\nssl_ca = <{pki}/clients.pem\nssl_require_crl = no\n"
_DOVECOT_CHECKS = "ssl_verify_client_cert = yes\nssl_require_crl = yes\nssl_ca = <{pki}/"
DOVECOT = (
    asks_from_now_on("", _DOVECOT_ON),
    # It refuses the revoked when they log in, which is after the handshake.
    Rule("revoked", _DOVECOT_CHECKS + "ca_none.crl", _DOVECOT_CHECKS + "ca_one.crl", "revoked",
         then=FULL, same=FULL, others_then=FULL, others_same=FULL),
)

# --- mosquitto ----------------------------------------------------------------------------------

# Told to read its configuration again, it adds what the same files have by now to its contexts.
_MOSQUITTO_ON = "require_certificate true\ncafile {dir}/"
_MOSQUITTO_CHECKS = _MOSQUITTO_ON + "clients.pem\ncrlfile {dir}/now.crl"
_MOSQUITTO_SECRETS = "psk_hint users\npsk_file {dir}/now.psk"
MOSQUITTO = (
    Rule("revoked", _MOSQUITTO_CHECKS, _MOSQUITTO_CHECKS, "revoked"),
    Rule("CA removed", _MOSQUITTO_ON + "now.pem", _MOSQUITTO_ON + "now.pem", "moved",
         reload_knows=False),
    # Version 2.1 asks for certificates then, but has no CA to verify them with.
    replace(asks_from_now_on("", _MOSQUITTO_ON + "clients.pem"), reload_knows=False,
            reload_may_shut=True),
    # Debian 13's mosquitto gives these listeners TLS 1.2 alone.
    replace(user_removed(_MOSQUITTO_SECRETS, _MOSQUITTO_SECRETS), protocols=("1.2",)),
)

# --- Node ---------------------------------------------------------------------------------------

_NODE_ON = "requestCert: true, ca: read('clients.pem'), "
NODE = (
    Rule("revoked", _NODE_ON + "crl: read('none.crl')", _NODE_ON + "crl: read('one.crl')",
         "revoked"),
    Rule("CA removed", "requestCert: true, ca: read('both_cas.pem')", _NODE_ON, "moved"),
    no_more_unknown("rejects from now on", _NODE_ON + "rejectUnauthorized: false", _NODE_ON),
    asks_from_now_on("", _NODE_ON),
    cipher_removed(f"ciphers: '{CIPHERS}'", f"ciphers: '{NEW_CIPHER}'"),
    renewed(),
)
