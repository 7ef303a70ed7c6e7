"""A model behind an OpenAI-compatible server (extra `llm`).

    --config.llm=agentrl.llm.openai.chat:OpenAIChat --config.llm_kw.model=<name>

`complete` blocks, so that its callers stay plain functions; many threads call
at once, and one event loop in the background serves them all. Key and address
come from OPENAI_API_KEY and OPENAI_BASE_URL, or from variables named in the
config; the key is in no file, log or error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
import contextlib
import dataclasses
import email.utils
import functools
import json
import os
import random
import re
import threading
import time
from typing import Any
import urllib.parse

from agentrl import resolve
from agentrl import types
from agentrl.llm import budget
from agentrl.llm import llm
from agentrl.llm.openai import pace
from agentrl.llm.openai import wire

# Waits between tries grow from the first number of seconds to the second.
BACKOFF_S = 0.5, 60.0
# Statuses after which a server may recover.
PASSING = (408, 409, 429, *range(500, 600))
# Most seconds for a server that has never answered: its address may be wrong.
STRANGER_S = 20.0
EMPTY = 4  # answers without a message that are taken for an answer
URL = 'OPENAI_BASE_URL'
_BROKE = 'insufficient_quota'  # a 429 that no retry helps against
# Errors of servers that concern one request alone: the prompt has no room, a
# filter is against it, or the model's own answer was malformed.
_TOO_LONG, _DENIED, _NONSENSE = (re.compile(p, re.IGNORECASE) for p in (
    r'context.?(length|size|window)|(prompt|input|request) (is )?too '
    r'(long|large)|input token count|too many input tokens',
    r'content.?filter|content.?policy|moderation|flagged|invalid.?prompt',
    r'json.?validate.?failed|tool.?use.?failed'))


@dataclasses.dataclass(frozen=True)
class SamplingFields:
  """Settings that answers depend on, beside the request.

  Attributes:
    max_tokens: most tokens of an answer.
    temperature: sampling temperature; None leaves it to the server.
    form: way to ask for a schema, see `wire.request`.
    extra: further fields of the request, as the server names them.
    max_tokens_field: the server's name for `max_tokens`.
  """

  max_tokens: int = 2048
  temperature: float | None = 1.0
  form: str = 'json_schema'
  extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  max_tokens_field: str = 'max_tokens'


@dataclasses.dataclass(frozen=True)
class ServerLimits:
  """Limits on the load that one process puts on a server.

  Attributes:
    concurrency: most calls at once.
    requests_per_minute: most requests a minute; 0 for any number.
    tokens_per_minute: most tokens a minute; 0 for any number.
    timeout_s: time limit of a try [seconds].
    max_wait_s: time limit of all tries of a call and the waits between them
      [seconds].
  """

  concurrency: int = 16
  requests_per_minute: float = 0
  tokens_per_minute: float = 0
  timeout_s: float = 120.0
  max_wait_s: float = 900.0


class _Retry(Exception):
  """A call failed that may succeed later.

  Attributes:
    after_s: least wait that the server asks for [seconds].
    unknown: whether there may be no server at that address.
  """

  def __init__(self, why: str, after_s: float = 0.0, unknown: bool = False):
    super().__init__(why)
    self.after_s, self.unknown = after_s, unknown


class _EmptyAnswer(_Retry):
  """An answer was paid for that holds no message."""

  def __init__(self, why: str, usage: llm.Usage):
    super().__init__(why)
    self.usage = usage


class OpenAIChat:
  """`llm.LLM` of a server.

  Args:
    model: name of the model on the server.
    sampling: fields of `SamplingFields`.
    limits: fields of `ServerLimits`.
    key: environment variable with the key.
    url: environment variable with the address; OpenAI's own where
      OPENAI_BASE_URL is not set.

  Raises:
    ValueError: a wrong field, no key or address, or no package openai.

  Raises (`complete`):
    ValueError: the server refuses all such calls: wrong key, unknown model.
    Unavailable: the server was busy, broken or absent for longer than
      `max_wait_s`.
  """

  def __init__(self, model: str, *, sampling: Mapping[str, Any] | None = None,
               limits: Mapping[str, Any] | None = None,
               key: str = 'OPENAI_API_KEY', url: str = URL):
    self._sampling = resolve.call(SamplingFields, sampling or {})
    self._limits = resolve.call(ServerLimits, limits or {})
    _check(model, self._sampling, self._limits)
    self._model, self._key, self._url = model, key, url
    self._openai = resolve.extra('openai', 'llm')
    self._client = self._openai.AsyncOpenAI(
        api_key=_key(key), base_url=_address(url),
        timeout=self._limits.timeout_s, max_retries=0)
    self._slots = asyncio.Semaphore(self._limits.concurrency)
    self._requests = pace.Pace(self._limits.requests_per_minute)
    self._tokens = pace.Pace(self._limits.tokens_per_minute)
    self._loop = _loop()
    self._known = False  # whether it has answered before
    self._served: set[frozenset[str]] = set()  # fields of answered requests
    self._stopped = asyncio.Event()

  @property
  def identity(self) -> dict[str, Any]:
    return {'model': self._model, **dataclasses.asdict(self._sampling)}

  def complete(self, messages: Sequence[types.Message], *,
               schema: Mapping[str, Any] | None = None,
               tools: Sequence[Mapping[str, Any]] = (),
               seed: int) -> llm.Answer:
    s = self._sampling
    body = {'model': self._model, 'seed': seed, s.max_tokens_field:
                s.max_tokens, **wire.request(
                    messages, schema=schema, tools=tools, form=s.form)}
    if s.temperature is not None:
      body['temperature'] = s.temperature
    most = llm.Usage(budget.most_tokens(messages, schema, tools),
                     s.max_tokens, 1)
    asked = asyncio.run_coroutine_threadsafe(
        self._ask({**body, 'extra_body': dict(s.extra)}, most), self._loop)
    try:
      return asked.result()
    finally:
      asked.cancel()  # if it was Ctrl-C

  def stop(self) -> None:
    """Ends all tries; requests that were sent may still be answered."""
    self._loop.call_soon_threadsafe(self._stopped.set)

  async def _ask(self, body: Mapping[str, Any], most: llm.Usage) -> llm.Answer:
    """Tries until there is an answer."""
    waited, tries, empty = 0.0, 0, []
    while True:
      async with self._slots:
        await self._turn(most)
        if self._stopped.is_set():
          raise llm.Interrupted('The run is over.')
        began = time.monotonic()
        try:
          reply = await self._send(body, most)
          return dataclasses.replace(reply, usage=sum(empty, reply.usage))
        except _EmptyAnswer as e:
          again = e
          empty.append(e.usage)
        except _Retry as e:
          again = e
      if len(empty) == EMPTY:
        return llm.Answer(types.Message('assistant', ''), problem=str(again),
                         usage=sum(empty, llm.Usage()))
      tries += 1
      pause = again.after_s + _backoff(tries)
      waited += time.monotonic() - began + pause
      if waited > min(self._limits.max_wait_s,
                      STRANGER_S if again.unknown else float('inf')):
        raise llm.Unavailable(
            f'{self._name} gave no answer in {tries} tries; the last: {again}. '
            f'Is {self._url} its address?')
      self._requests.hold(time.monotonic() + again.after_s)
      await self._sleep(pause)

  async def _turn(self, most: llm.Usage) -> None:
    """Waits until the limits allow a call."""
    now = time.monotonic()
    await self._sleep(max(self._requests.reserve(1, now),
                          self._tokens.reserve(_likely(most), now)))

  async def _sleep(self, seconds: float) -> None:
    """Waits, at most until `stop` is called."""
    with contextlib.suppress(TimeoutError):
      await asyncio.wait_for(self._stopped.wait(), seconds)

  async def _send(self, body: Mapping[str, Any], most: llm.Usage) -> llm.Answer:
    """Sends the request once.

    Raises:
      _Retry: it may succeed later.
      ValueError: it will never succeed.
    """
    try:
      async with asyncio.timeout(self._limits.timeout_s):
        raw = await self._client.chat.completions.with_raw_response.create(
            **body)
    except (TimeoutError, self._openai.APITimeoutError):
      raise _Retry(f'nothing within {self._limits.timeout_s} s') from None
    except self._openai.APIConnectionError as e:
      why = f'{type(e.__cause__).__name__}: {e.__cause__}'
      raise _Retry(self._safe(f'connection failed, {why}'),
                   unknown=not self._known) from None
    except self._openai.APIStatusError as e:
      self._known = True
      return self._refused(e, frozenset(body))
    self._known = True
    reply = self._read(raw.http_response.content, most)
    self._served.add(frozenset(body))
    self._tokens.give_back(_likely(most) - reply.usage.tokens)
    return reply

  def _read(self, content: bytes, most: llm.Usage) -> llm.Answer:
    """Reads the answer in a response.

    Raises:
      _Retry: it holds none.
    """
    body = None
    try:
      body = json.loads(content)
      return wire.answer(body, most)
    except (ValueError, RecursionError) as e:
      why = self._safe(f'an answer that is none: {e}')
    if not isinstance(body, dict):
      raise _Retry(why)
    error = body.get('error')
    if isinstance(error, dict) and error.get('code') in PASSING:
      raise _Retry(why)
    cost = llm.Usage(calls=1)
    with contextlib.suppress(ValueError, TypeError, AttributeError):
      cost = wire.usage(body, cost)
    raise _EmptyAnswer(why, cost)

  def _refused(self, e: Any, fields: frozenset[str]) -> llm.Answer:
    """Returns the answer that stands for a request which the server refuses.

    Args:
      e: the server's error.
      fields: names of the request's fields. If requests with the same fields
        were answered before, the content of this one is at fault.

    Raises:
      _Retry, ValueError: see `_send`.
    """
    status, text = e.status_code, self._safe(f'{e.status_code}: {e.message}')
    if e.code == _BROKE:
      raise ValueError(f'{self._name}: the account has no money left.')
    if status in PASSING:
      raise _Retry(text, _after_s(e.response.headers))
    if end := _end(status, f'{e.code} {text}', fields in self._served):
      return llm.Answer(types.Message('assistant', ''), end=end, problem=text,
                       usage=llm.Usage(calls=1))
    if status in (401, 403):  # the text may quote the key in part
      text = f'{status}: set {self._key} to a key that may use this model'
    if status == 404:
      text += (f' (has it such a model, and is {self._url} its address, which '
               'mostly ends in /v1?)')
    if 'response_format' in text:
      text += " (set llm_kw.sampling.form to 'json_object' or 'prompt')"
    raise ValueError(f'{self._name} refuses the call; {text}.')

  @property
  def _name(self) -> str:
    """Model and host, for errors; without a password in the address."""
    host = urllib.parse.urlsplit(str(self._client.base_url))
    return f'{self._model} at {host.hostname}:{host.port or host.scheme}'

  def _safe(self, text: str) -> str:
    """Returns a text of the server without the key, and cut."""
    return text.replace(self._client.api_key, '[key]')[:300]


def _end(status: int, text: str, served: bool) -> str:
  """Returns `llm.Answer.end` for a refused request; '' if any other request
  would be refused too.

  Args:
    status: HTTP status of the refusal.
    text: text of the refusal, with its code.
    served: whether requests with the same fields were answered.
  """
  if status == 413 or status == 400 and _TOO_LONG.search(text):
    return 'no room'
  if status in (400, 403) and _DENIED.search(text):
    return 'refused'
  if status == 400 and _NONSENSE.search(text):
    return 'stop'  # with a problem, so that the model is asked once more
  return 'refused' if status in (400, 422) and served else ''


def _check(model: str, sampling: SamplingFields, limits: ServerLimits) -> None:
  """Raises ValueError for settings that no server would take."""
  if not model:
    raise ValueError("No model to ask, got model='': set it to the name that "
                     'the server of OPENAI_BASE_URL has for it.')
  if sampling.form not in wire.FORMS:
    raise ValueError(f'No form {sampling.form!r}.' + resolve.hint(
        sampling.form, wire.FORMS))
  for name, value in (('max_tokens', sampling.max_tokens),
                      ('concurrency', limits.concurrency),
                      ('timeout_s', limits.timeout_s)):
    if not value > 0:
      raise ValueError(f'{name} must be above 0, got {value!r}.')


def _key(name: str) -> str:
  """Returns the key in an environment variable.

  Raises:
    ValueError: it is not set, or cannot be sent: then the client's own error
      would quote it.
  """
  key = os.environ.get(resolve.variable(name), '').strip()
  if not key:
    raise ValueError(f'{name} is not set: export it. For a server that wants '
                     'no key any text will do.')
  if not (key.isascii() and key.isprintable()):
    raise ValueError(f'{name} holds characters that no key has: export it '
                     'anew.')
  return key


def _address(name: str) -> str | None:
  """Returns the address in an environment variable; None is OpenAI's.

  Raises:
    ValueError: a variable of another name than the usual is not set: the key
      might go to the wrong server.
  """
  if not os.environ.get(resolve.variable(name)) and name != URL:
    raise ValueError(f'{name} is not set: export the address of the server, '
                     'which mostly ends in /v1.')
  return os.environ.get(name) or None


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
  """Returns the event loop of this process, in a thread of its own."""
  loop = asyncio.new_event_loop()
  threading.Thread(target=loop.run_forever, name='llm', daemon=True).start()
  return loop


def _backoff(tries: int) -> float:
  """Returns seconds to wait, with full jitter: calls that failed together are
  not tried again together."""
  first_s, most_s = BACKOFF_S
  return random.uniform(0, min(most_s, first_s * 2**min(tries, 20)))


def _likely(most: llm.Usage) -> float:
  """Returns the likely tokens of a call: text has about four bytes a token."""
  return most.prompt_tokens / 4 + most.completion_tokens


def _after_s(headers: Mapping[str, str]) -> float:
  """Returns the wait [seconds] of a Retry-After header, which is a number or a
  date; 0 without one."""
  text = headers.get('retry-after', '')
  with contextlib.suppress(ValueError):
    return min(max(0.0, float(text)), 1e6)
  with contextlib.suppress(ValueError, TypeError):
    return max(0.0, email.utils.parsedate_to_datetime(text).timestamp()
               - time.time())
  return 0.0
