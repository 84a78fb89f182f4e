"""A certificate authority of our own, and a server certificate that it signed."""

import shutil
import subprocess
from dataclasses import dataclass

import pytest


def _is_usable():
    """Tell whether the openssl command is there and can sign with another's key, as 3.0 and newer can."""
    if shutil.which("openssl") is None:
        return False
    told = subprocess.run(["openssl", "version"], capture_output=True, text=True, timeout=60, check=False)
    return told.stdout.startswith(("OpenSSL 3", "OpenSSL 4"))


needs_openssl = pytest.mark.skipif(not _is_usable(), reason="there is no openssl command of 3.0 or newer here")
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@dataclass(frozen=True)
class Authority:
    """The files of it: who trusts ``root`` trusts the server that has ``certificate`` and ``key``."""

    root: str
    certificate: str
    key: str


def made_in(folder):
    """Make an authority, and a certificate for 127.0.0.1 and localhost."""
    authority = Authority(*(str(folder / name) for name in ("root.pem", "certificate.pem", "key.pem")))
    root_key = str(folder / "root-key.pem")
    _openssl(*_KEY, "-subj", "/CN=tests", "-keyout", root_key, "-out", authority.root)
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
    signed = ("-CA", authority.root, "-CAkey", root_key, "-addext", "basicConstraints=critical,CA:FALSE")
    _openssl(*_KEY, *names, *signed, "-keyout", authority.key, "-out", authority.certificate)
    return authority


def _openssl(*arguments):
    subprocess.run(["openssl", "req", "-x509", *arguments], check=True, capture_output=True, timeout=60)
