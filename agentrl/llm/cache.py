"""Answers by the content of what was asked, in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent import futures
import dataclasses
import hashlib
import json
import os
import pathlib
import threading
from typing import Any

from agentrl import files
from agentrl import jsons
from agentrl import types
from agentrl.llm import llm


class Cache:
  """An `LLM` that asks for the same thing once.

  The key is the request itself: whatever else of a run is changed, answers to
  requests that stayed the same are kept. The server's address is no part of it:
  the same model moves. Weights that change under one name take another folder.
  Threads that ask for the same at the same time get one answer; processes may
  share a folder.

  Args:
    inner: who answers what is new.
    identity: of the model, see `llm.LLM`.
    folder: of the answers, a file each.
  """

  def __init__(self, inner: llm.LLM, identity: Mapping[str, Any],
               folder: str | os.PathLike):
    self._inner, self._identity = inner, dict(identity)
    self._folder = pathlib.Path(folder)
    self._lock = threading.Lock()
    self._asked: dict[str, futures.Future] = {}

  def complete(self, messages: Sequence[types.Message], *,
               schema: Mapping[str, Any] | None = None,
               tools: Sequence[Mapping[str, Any]] = (),
               seed: int) -> llm.Reply:
    key = hashlib.sha256(jsons.dumps(
        [self._identity, messages, schema, tools, seed]).encode()).hexdigest()
    path = self._folder / key[:2] / f'{key}.json'
    with self._lock:
      answer = self._asked.get(key)
      first = answer is None
      if first:
        answer = self._asked[key] = futures.Future()
    if not first:
      return _hit(answer.result())
    try:
      reply = _read(path)
      if reply is not None:
        answer.set_result(reply)
        return _hit(reply)
      reply = self._inner.complete(messages, schema=schema, tools=tools,
                                   seed=seed)
      # Unsorted: the next prompts show arguments in the order they came in.
      # A server that had no room, for nothing, may be started with more.
      if reply.end != 'no room' or reply.usage.tokens:
        files.write_text(path, json.dumps(jsons.to_json(reply),
                                            ensure_ascii=False))
      answer.set_result(reply)
      return reply
    except BaseException as e:
      answer.set_exception(e)
      raise
    finally:
      with self._lock:
        del self._asked[key]


def _hit(reply: llm.Reply) -> llm.Reply:
  return dataclasses.replace(reply, usage=llm.Usage(
      hits=1, saved=reply.usage.dollars, saved_tokens=reply.usage.tokens))


def _read(path: pathlib.Path) -> llm.Reply | None:
  """The answer in a file; None without one, or where it is not readable: it
  is asked for again then."""
  try:
    found = json.loads(path.read_text())
    return llm.Reply(**{
        **found, 'message': jsons.from_json(types.Message, found['message']),
        'usage': llm.Usage(**found.get('usage', {}))})
  except (OSError, ValueError, TypeError, KeyError):
    return None
