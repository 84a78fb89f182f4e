"""Certificates that a server may show: one for each way of being wrong, made by the openssl command."""

import subprocess
from dataclasses import dataclass

_HERE = "subjectAltName=IP:127.0.0.1,DNS:localhost"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
#: The least that `openssl ca` wants to be told: it alone signs for a span of time that is over.
_CA = """
[ca]
default_ca = tests
[tests]
database = {folder}/index.txt
rand_serial = yes
new_certs_dir = {folder}
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""


@dataclass(frozen=True)
class Certificate:
    """The files of one; who names ``certificate`` as ca_file trusts its signature."""

    certificate: str
    key: str

    @property
    def tls(self):
        """What the sandbox takes."""
        return self.certificate, self.key


def self_signed(folder):
    """Make one for this machine that nobody signed."""
    return _made(folder, "self-signed", _HERE)


def of_another_host(folder):
    """Make one for another host."""
    return _made(folder, "another-host", "subjectAltName=DNS:elsewhere.invalid")


def expired(folder):
    """Make one for this machine that was good for a day, years ago."""
    made = Certificate(str(folder / "expired.pem"), str(folder / "expired.key"))
    request, settings = str(folder / "expired.csr"), folder / "ca.conf"
    settings.write_text(_CA.format(folder=folder), encoding="utf-8")
    (folder / "index.txt").touch()
    _openssl("req", *_KEY, "-subj", "/CN=localhost", "-addext", _HERE, "-keyout", made.key, "-out", request)
    span = ("-startdate", "20200101000000Z", "-enddate", "20200102000000Z")
    files = ("-keyfile", made.key, "-in", request, "-out", made.certificate)
    _openssl("ca", "-batch", "-notext", "-selfsign", "-config", str(settings), *span, *files)
    return made


def _made(folder, name, names):
    made = Certificate(str(folder / f"{name}.pem"), str(folder / f"{name}.key"))
    subject = ("-days", "2", "-subj", "/CN=localhost", "-addext", names)
    _openssl("req", "-x509", *_KEY, *subject, "-keyout", made.key, "-out", made.certificate)
    return made


def _openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)
