"""Keeps answers in files, by the content of their requests."""

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


class AnswerCache:
  """An `LLM` that asks each request once.

  The key is the request itself: if anything else about a run changes, answers
  to the same requests are still found. The server's address is no part of it,
  since a model may move. Weights that change under one name need another
  folder. Threads with the same request at the same time get one answer;
  processes may share a folder.

  Args:
    inner: LLM that answers new requests.
    identity: identity of the model, see `llm.LLM`.
    folder: folder of the answers, a file each.
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
               seed: int) -> llm.Answer:
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
      # Unsorted: later prompts show arguments in the order in which they came.
      # Not if a server had no room and charged nothing: it may get more room.
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


def _hit(reply: llm.Answer) -> llm.Answer:
  return dataclasses.replace(reply, usage=llm.Usage(
      hits=1, saved=reply.usage.dollars, saved_tokens=reply.usage.tokens))


def _read(path: pathlib.Path) -> llm.Answer | None:
  """Reads the answer in a file; None without one, or where it cannot be read:
  then it is asked for again."""
  try:
    return jsons.from_json(llm.Answer, json.loads(path.read_text()))
  except (OSError, ValueError, TypeError, KeyError):
    return None
