"""An authority that certifies clients, and revokes. Each client's file has the key, the certificate
and its chain."""

from pathlib import Path

from .run import run

_P256 = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
_DATABASE = """\
[ca]
default_ca = authority
[authority]
database = {database}
crlnumber = {number}
default_md = sha256
default_crl_days = 2
"""


class Authority:
    def __init__(self, folder, name):
        """Its certificate is NAME.pem of the folder."""
        self.folder, self.name = folder, name
        self._chain = ""  # from who issues next, up to but without the root
        self.certificate, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        _make(name, self._key, self.certificate, "-x509", "-days", "2")

    def issue(self, name, *kind):
        """A client's NAME.pem; the path. kind: of its key, as `openssl req -newkey` has it."""
        return self._issue(name, "extendedKeyUsage = clientAuth", kind or _P256)

    def below(self, name):
        """An authority NAME that this one has certified."""
        middle = object.__new__(Authority)
        middle.folder, middle.name = self.folder, name
        middle.certificate = self._issue(name, "basicConstraints = critical, CA:TRUE", _P256)
        middle._key = self.folder / f"{name}.key"
        middle._chain = middle.certificate.read_text().partition(middle._key.read_text())[2]
        middle.certificate.write_text(middle._chain)
        return middle

    def _issue(self, name, extensions, kind):
        key, request, file = (self.folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
        _make(name, key, request, kind=kind)
        (self.folder / f"{name}.ext").write_text(extensions + "\n")
        run("openssl", "x509", "-req", "-in", request, "-CA", self.certificate,
            "-CAkey", self._key, "-CAcreateserial", "-days", "2",
            "-extfile", self.folder / f"{name}.ext", "-out", file)
        file.write_text(key.read_text() + file.read_text() + self._chain)
        return file

    def revocations(self, file, *revoked):
        """Writes a list that has these certificates; the path."""
        database, number = (self.folder / f"{file}.{end}" for end in ("index", "number"))
        settings = self.folder / f"{file}.cnf"
        settings.write_text(_DATABASE.format(database=database, number=number))
        database.write_text("")
        number.write_text("01\n")
        words = ("openssl", "ca", "-config", settings, "-cert", self.certificate,
                 "-keyfile", self._key)
        for each in revoked:
            run(*words, "-revoke", each)
        run(*words, "-gencrl", "-out", self.folder / file)
        return self.folder / file


def make_self_signed(folder, name):
    """The file NAME.pem of a client that nobody certified."""
    key, file = folder / f"{name}.key", folder / f"{name}.pem"
    _make(name, key, file, "-x509", "-days", "2")
    file.write_text(key.read_text() + file.read_text())
    return file


def hashed_folder(folder, *files):
    """A folder of these, as libssl looks through: for CApath and CRLpath."""
    folder.mkdir()
    for file in files:
        (folder / Path(file).name).write_text(Path(file).read_text())
    run("openssl", "rehash", folder)
    return folder


def _make(name, key, file, *more, kind=_P256):
    run("openssl", "req", "-newkey", *kind, "-nodes", "-subj", f"/CN={name}",
        "-keyout", key, "-out", file, *more)
