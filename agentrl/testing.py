"""Provides fakes for tests alone: small, with the real signatures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import http.server
import json
import sys
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from agentrl import resolve
from agentrl import types
from agentrl.envs import env as env_lib
from agentrl.llm import llm as llm_lib
from agentrl.llm import strict
from agentrl.llm.openai import wire
from agentrl.models import config as model_config
from agentrl.models import transformer
from agentrl.tokenizer import hf

_MARKUP = ('end', 'system', 'user', 'assistant', 'tool', 'call', 'arg', 'val')
_FIRST_BYTE = 1 + len(_MARKUP)


class ByteVocab:
  """A vocabulary of bytes; the interface of `tokenizer.vocab.Vocab`."""

  pad = 0
  size = _FIRST_BYTE + 256
  digest = 'bytes'

  def __init__(self):
    self.marks = {f'<|{name}|>': i for i, name in enumerate(_MARKUP, 1)}
    for i, name in enumerate(_MARKUP, 1):
      setattr(self, name, i)

  def encode(self, text: str) -> list[int]:
    return [_FIRST_BYTE + b for b in text.encode()]

  def decode(self, ids: Sequence[int]) -> str:
    if any(self.is_markup(i) for i in ids):
      raise ValueError('Cannot decode control ids as text.')
    return bytes(i - _FIRST_BYTE for i in ids).decode(errors='replace')

  def piece(self, i: int) -> str:
    if self.is_markup(i):
      return f'<|{("pad", *_MARKUP)[i]}|>'
    return self.decode([i])

  def is_markup(self, i: int) -> bool:
    return i < _FIRST_BYTE


def packed_rows(rows: int = 4, length: int = 8, vocab_size: int = 11
               ) -> dict[str, np.ndarray]:
  """Returns a batch of full rows in which about half the tokens are targets.

  Args:
    rows: B.
    length: T.
    vocab_size: ids are below it.

  Returns:
    ids_BT, positions_BT, segments_BT (int64), target_BT (bool).
  """
  rng = np.random.default_rng(0)
  return {'ids_BT': rng.integers(1, vocab_size, (rows, length)),
          'positions_BT': np.tile(np.arange(length), (rows, 1)),
          'segments_BT': np.ones((rows, length), int),
          'target_BT': rng.random((rows, length)) < 0.5}


def chatml_vocab() -> hf.BpeVocab:
  """Returns a vocabulary of bytes for ChatML; needs the package tokenizers.

  Ids are those of `ByteVocab`, so `chatty_params` work with it too.
  """
  alphabet = resolve.extra('tokenizers', 'hf').pre_tokenizers.ByteLevel
  marks = ['<|endoftext|>', hf.END, hf.START, *hf.INNER]
  ids = {text: i for i, text in enumerate(
      [*marks, *sorted(alphabet.alphabet())])}
  added = [dict(id=i, content=mark, single_word=False, lstrip=False,
                rstrip=False, normalized=False, special=mark not in hf.INNER)
           for i, mark in enumerate(marks)]
  level = dict(type='ByteLevel', add_prefix_space=False, trim_offsets=True,
               use_regex=True)
  return hf.BpeVocab(json.dumps(dict(
      version='1.0', truncation=None, padding=None, added_tokens=added,
      normalizer=None, pre_tokenizer=level, post_processor=None, decoder=level,
      model=dict(type='BPE', vocab=ids, merges=[]))).encode())


def tiny_model(**fields: Any) -> model_config.ModelConfig:
  """Returns a model of two layers over the byte vocabulary."""
  return model_config.ModelConfig(**{**dict(
      vocab_size=ByteVocab.size, num_layers=2, d_model=16, num_heads=2,
      num_kv_heads=1, head_dim=8, d_ff=32, max_length=256,
      tie_embeddings=False), **fields})


def chatty_params(config: model_config.ModelConfig, *, stop: float = 0.1,
                  seed: int = 0) -> Any:
  """Returns random weights that sample turns: no markup but the end of a turn.

  One feature of the embedding is constant, and the head reads it as a bias.

  Args:
    config: model with an untied head.
    stop: approximate chance of each token to end its turn.
    seed: seeds the weights.
  """
  def isolated(path: Any, x: jax.Array) -> jax.Array:
    """Keeps all layers from writing to the first feature and smearing it."""
    writes = any(name in jax.tree_util.keystr(path)
                 for name in ('out', 'down', 'smear'))
    return x.at[0].set(0.0).at[:, 0].set(0.0) if writes else x
  params = jax.tree_util.tree_map_with_path(
      isolated, transformer.init(config, jax.random.key(seed)))
  words = config.vocab_size - _FIRST_BYTE
  bias_V = jnp.full(config.vocab_size, -20.0).at[_FIRST_BYTE:].set(0.0)
  bias_V = bias_V.at[1].set(jnp.log(stop * words / (1 - stop)))
  # So large that the last norm makes it about sqrt(D), whatever the others are.
  root = config.d_model**0.5
  head_VD = 0.4 * jax.random.normal(jax.random.key(seed), params['head'].shape)
  return {**params, 'embed': params['embed'].at[:, 0].set(4.0 * root),
          'head': head_VD.at[:, 0].set(bias_V / root)}


class EchoWorld:
  """Repeats the text of `echo`, breaks at `crash`, refuses all other calls."""

  solo = False

  def execute(self, calls: Sequence[types.ToolCall]) -> list[types.Message]:
    return [self._answer(call) for call in calls]

  def _answer(self, call: types.ToolCall) -> types.Message:
    if call.name == 'crash':
      raise env_lib.ToolBroken('The tool crash broke.')
    known = call.name == 'echo'
    text = call.arguments.get('text', '') if known else 'Error: no such tool.'
    return types.Message('tool', str(text), id=call.id, error=not known,
                         requestor=call.requestor)


class EchoEnv:
  """Rewards an agent that says the scenario's text before the user stops."""

  name = 'echo'

  def prompt(self, side: types.Side, task: types.Task) -> types.Message:
    rules = 'Be of help to whoever calls, whatever it is they want. ' * 2
    wish = '' if side == 'assistant' else f'Ask for {task.scenario}.'
    return types.Message('system', rules + wish)

  def tools(self, side: types.Side, task: types.Task) -> tuple[dict, ...]:
    return ({'type': 'function', 'function': {
        'name': 'echo', 'parameters': {
            'type': 'object', 'properties': {'text': {'type': 'string'}}}}},)

  def start(self, task: types.Task) -> EchoWorld:
    return EchoWorld()

  def score(self, task: types.Task, world: Any,
            messages: Sequence[types.Message], ended: str) -> types.Score:
    said = any(task.scenario in (m.content or '') for m in messages
               if m.role == 'assistant')
    return types.Score(float(said and ended == 'user_stop'),
                       clauses={'the word is said': said})

  def fault(self, task: types.Task, messages: Sequence[types.Message]) -> str:
    return ''

  def fingerprint(self) -> str:
    return 'echo'


def echo_task(word: str = 'maple', **fields: Any) -> types.Task:
  return types.Task(f'say-{word}', 'echo', word, **fields)


@contextlib.contextmanager
def count_compiles() -> Iterator[list[str]]:
  """Yields a list that grows by one entry for each program XLA compiles."""
  seen = []

  def listen(event: str, seconds: float, **kw: Any) -> None:
    if event == '/jax/core/compile/backend_compile_duration':
      seen.append(f'{kw.get("fun_name", "?")}: {seconds:.2f} s')
  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    yield seen
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)


class ChatServer(http.server.ThreadingHTTPServer):
  """An OpenAI-compatible server on this machine that also misbehaves.

  Args:
    answer: function from the body of a request to a text, or a message in the
      chat format.
    fault: function from the body of a request to a name of `FAULTS`, or ''.

  Attributes:
    key: value for OPENAI_API_KEY; others work too.
    asked: bodies of all requests.
    keys: keys that came with the requests.
    url: value for OPENAI_BASE_URL.
  """

  daemon_threads = True
  key = 'sk-not-to-be-seen-anywhere'

  def __init__(self, answer: Callable[[dict[str, Any]], Any],
               fault: Callable[[dict[str, Any]], str] = lambda body: ''):
    super().__init__(('127.0.0.1', 0), _Chat)
    self.answer, self.asked, self.keys = answer, [], set()
    self._fault, self._lock = fault, threading.Lock()
    self.closing = threading.Event()
    self.url = f'http://127.0.0.1:{self.server_port}/v1'

  def __enter__(self) -> ChatServer:
    threading.Thread(target=self.serve_forever, args=(0.01,),
                     daemon=True).start()
    return self

  def __exit__(self, *args: Any) -> None:
    self.closing.set()
    self.shutdown()
    self.server_close()

  def handle_error(self, request: Any, client_address: Any) -> None:
    if not isinstance(sys.exception(), ConnectionError):  # a client that left
      super().handle_error(request, client_address)

  def take(self, body: dict[str, Any], key: str) -> str:
    """Notes a request; returns its fault, or ''."""
    with self._lock:
      self.asked.append(body)
      self.keys.add(key)
      return self._fault(body)


class _Chat(http.server.BaseHTTPRequestHandler):
  """Serves one connection to a `ChatServer`."""

  protocol_version = 'HTTP/1.1'
  wbufsize = -1  # head and body in one packet
  disable_nagle_algorithm = True

  def do_POST(self) -> None:
    body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
    fault = self.server.take(body, self.headers['Authorization'])
    if fault:
      FAULTS[fault](self)
    else:
      self.say(self.server.answer(body))

  def say(self, message: Any, end: str = 'stop', **fields: Any) -> None:
    if not isinstance(message, Mapping):
      message = {'role': 'assistant', 'content': message}
    self.send(200, {'choices': [{'finish_reason': end, 'message': message}],
                    'usage': {'prompt_tokens': 30, 'completion_tokens': 7},
                    **fields})

  def send(self, status: int, body: Any, part: float = 1.0, promised: float = 1,
           **headers: str) -> None:
    """Sends a body, or a part of it.

    Args:
      status: HTTP status.
      body: plain JSON.
      part: share of the body that is sent.
      promised: share of its length that the header states.
      **headers: further headers.
    """
    data = json.dumps(body).encode()
    self.send_response(status)
    for name, value in headers.items():
      self.send_header(name.replace('_', '-'), value)
    self.send_header('Content-Type', 'application/json')
    self.send_header('Content-Length', str(int(promised * len(data))))
    self.end_headers()
    self.wfile.write(data[:int(part * len(data))])
    self.close_connection = part < promised

  def hang(self) -> None:
    self.close_connection = True
    self.server.closing.wait(5)

  def log_message(self, *args: Any) -> None:
    pass


_CALL = {'id': 'x', 'type': 'function', 'function': {
    'name': 'no_such_tool', 'arguments': '{}'}}
_ERROR = {'error': {'message': 'It is me, not you.'}}
# Faults that are over at the next request.
FAULTS: dict[str, Callable[[_Chat], None]] = {
    'busy': lambda chat: chat.send(429, _ERROR, Retry_After='0.01'),
    'broken': lambda chat: chat.send(500, _ERROR),
    'hang': _Chat.hang,
    'half': lambda chat: chat.send(200, _ERROR, part=0.5, promised=0.5),
    'dropped': lambda chat: chat.send(200, _ERROR, part=0.5),
    'no choices': lambda chat: chat.say('', choices=[]),
    'wrong form': lambda chat: chat.say('{"wrong": 1}'),
    'unknown tool': lambda chat: chat.say({
        'role': 'assistant', 'content': None, 'tool_calls': [_CALL]}),
}


def mends(body: Mapping[str, Any]) -> bool:
  """Returns whether a request shows the model the fault of its answer."""
  last = body['messages'][-1]['content'] or ''
  return last.startswith(strict.MEND.split('{')[0])


def answer_by(llm: llm_lib.LLM) -> Callable[[dict[str, Any]], Any]:
  """Returns the answers of an LLM, for a `ChatServer`.

  An LLM that is shown its mistake answers as if it had made none.
  """
  def answer(body: dict[str, Any]) -> Any:
    chat = [wire.message(record)[0] for record in body['messages']]
    if mends(body):
      del chat[-2:]
    form = body.get('response_format')
    reply = llm.complete(chat, schema=form and form['json_schema']['schema'],
                         tools=body.get('tools', ()), seed=body['seed'])
    return types.to_openai(reply.message)
  return answer
