"""Processes that the browser talks to, on free ports."""

import contextlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PATIENCE = 30.0  # seconds that a start or an end may take


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[str]:
    """A python process that tells a port in its first line; the port."""
    command = [sys.executable, "-m", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    watchdog = threading.Timer(PATIENCE, process.terminate)
    watchdog.start()
    try:
        line = process.stdout.readline()
        found = re.search(r":(\d+)", line)
        assert found, line + process.stdout.read()
        watchdog.cancel()
        yield found[1]
    finally:
        watchdog.cancel()
        process.terminate()
        process.communicate(timeout=PATIENCE)


def demo(data: Path) -> contextlib.AbstractContextManager[str]:
    return running("asgi_sessions", "demo", "--port", "0", "--data", str(data))


def shop(directory: Path) -> contextlib.AbstractContextManager[str]:
    return running("tests.chromium.shop", str(directory))


def secure_shop(directory: Path) -> contextlib.AbstractContextManager[str]:
    return running("tests.chromium.shop", str(directory / "sessions"), *map(str, certificate(directory)))


def certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for the names of the tests and its key, signed by itself, good for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.test"), x509.DNSName("evil.test")]), False)
        .sign(key, hashes.SHA256())
    )
    certificate, private = directory / "certificate.pem", directory / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, private
