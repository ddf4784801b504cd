from collections.abc import Iterator

import pytest

from tests.servers import KINDS, Server, server


@pytest.fixture(scope="package", params=KINDS)
def shared_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(request.param) as running:
        yield running


@pytest.fixture
def redis_server(shared_server: Server) -> Server:
    """A running server of each kind, empty and with no script loaded."""
    shared_server.client.flushall()
    shared_server.client.script_flush()
    shared_server.client.config_resetstat()
    return shared_server
