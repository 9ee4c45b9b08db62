"""Keys and certificates for loopback, by openssl."""

from pathlib import Path
from typing import Final

from tests.e2e.bed.tools import program, run

SECONDS: Final = 30.0
DAYS: Final = "30"


def self_signed(certificate: Path) -> Path:
    """Make a certificate of 127.0.0.1 that is its own authority; the path of its key, beside it."""
    key = certificate.with_suffix(".key")
    run(
        [program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", DAYS, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        SECONDS,
    )  # fmt: skip
    return key


def signing_key(private: Path, public: Path) -> None:
    """Make an RSA key pair: what tokens of service accounts are signed with."""
    openssl = program("openssl")
    run([openssl, "genrsa", "-out", private, "2048"], SECONDS)
    run([openssl, "rsa", "-in", private, "-pubout", "-out", public], SECONDS)
