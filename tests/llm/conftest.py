"""A server that speaks the protocol, and the way to it."""

import contextlib

import pytest

from agentrl import testing


@pytest.fixture
def serve(monkeypatch):
  """`serve(answer, *faults)`: a server that OPENAI_BASE_URL leads to, whose
  first requests meet these faults."""
  with contextlib.ExitStack() as stack:
    def start(answer, *faults):
      script = iter(faults)
      server = stack.enter_context(testing.ChatServer(
          answer, lambda body: next(script, '')))
      monkeypatch.setenv('OPENAI_BASE_URL', server.url)
      return server
    monkeypatch.setenv('OPENAI_API_KEY', testing.ChatServer.key)
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    yield start
