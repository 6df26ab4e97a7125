# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a real `twinax serve` on this machine (net_server.py) and a real OpenAI client."""
import pytest
from net_server import Server


@pytest.fixture(scope="module")
def server():
    s = Server()
    yield s
    s.stop()


@pytest.fixture
def client(server):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0,
                       timeout=60) as c:
        yield c


@pytest.fixture
def name(client):
    return client.models.list().data[0].id
