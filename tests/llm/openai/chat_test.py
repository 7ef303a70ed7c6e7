"""The client against a server that misbehaves."""

from concurrent import futures
import email.utils
import logging
import threading
import time

import pytest

from agentrl import testing
from agentrl import types
from agentrl.llm import llm
from agentrl.llm.openai import chat

pytest.importorskip('openai', reason='needs pip install -e .[llm]')
KEY = testing.ChatServer.key
CHAT = [types.Message('system', 'Do.'), types.Message('user', 'This.')]
TOOL = {'type': 'function', 'function': {'name': 'find'}}


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
  monkeypatch.setattr(chat, 'BACKOFF_S', (0.001, 0.01))


def client(sampling=None, **limits):
  return chat.OpenAIChat(
      'a-model', sampling=sampling,
      limits=dict(timeout_s=5.0, max_wait_s=30.0) | limits)


def test_what_is_asked_and_what_comes(serve):
  server = serve(lambda body: 'Hello.')
  reply = client(dict(temperature=0.5, max_tokens=9, extra={'top_k': 3})
                ).complete(CHAT, tools=(TOOL,), seed=7)
  assert reply.message == types.Message('assistant', 'Hello.')
  assert reply.usage == llm.Usage(30, 7, 1)
  assert server.asked == [{
      'model': 'a-model', 'seed': 7, 'max_tokens': 9, 'temperature': 0.5,
      'top_k': 3, 'tools': [TOOL], 'messages': [
          {'role': 'system', 'content': 'Do.'},
          {'role': 'user', 'content': 'This.'}]}]
  assert server.keys == {f'Bearer {KEY}'}


@pytest.mark.parametrize('fault', [
    'busy', 'broken', 'hang', 'half', 'dropped', 'no choices'])
def test_faults_that_pass_are_waited_for(serve, fault):
  server = serve(lambda body: 'Hello.', fault, fault)
  found = client(timeout_s=0.3 if fault == 'hang' else 5.0).complete(
      CHAT, seed=0)
  assert found.message.content == 'Hello.'
  assert len(server.asked) == 3 and server.asked[0] == server.asked[2]


def test_an_answer_that_trickles_in_is_not_waited_for(serve, monkeypatch):
  def trickle(chat):
    chat.send_response(200)
    chat.send_header('Content-Length', '1000')
    chat.end_headers()
    while not chat.server.closing.wait(0.05):
      chat.wfile.write(b' ')
      chat.wfile.flush()
  monkeypatch.setitem(testing.FAULTS, 'trickle', trickle)
  server = serve(lambda body: 'Hello.', 'trickle')
  client(timeout_s=0.3).complete(CHAT, seed=0)
  assert len(server.asked) == 2


def test_retry_after_is_kept_to(serve, monkeypatch):
  times = []
  monkeypatch.setitem(testing.FAULTS, 'busy', lambda chat: (
      times.append(time.monotonic()),
      chat.send(429, {}, Retry_After='0.2')))
  serve(lambda body: times.append(time.monotonic()) or 'Hello.', 'busy')
  client().complete(CHAT, seed=0)
  assert times[1] - times[0] >= 0.2


def test_a_pause_beyond_all_patience_is_not_waited_for(serve, monkeypatch):
  monkeypatch.setitem(testing.FAULTS, 'busy', lambda chat: chat.send(
      429, {'error': {'message': 'slow down'}}, Retry_After='1000'))
  server = serve(None, 'busy')
  with pytest.raises(llm.Unavailable, match='in 1 tries.*429.*slow down'):
    client().complete(CHAT, seed=0)
  assert len(server.asked) == 1


@pytest.mark.parametrize('text, seconds', [
    ('2', 2), ('0.5', 0.5), ('-3', 0), ('nan', 0), ('', 0), ('soon', 0)])
def test_retry_after_is_seconds(text, seconds):
  assert chat._after_s({'retry-after': text}) == seconds


def test_retry_after_is_a_date():
  date = email.utils.formatdate(time.time() + 600)
  assert 500 < chat._after_s({'retry-after': date}) <= 600


@pytest.mark.parametrize('fault', ['broken', 'dropped', 'half'])
def test_what_does_not_pass_ends(serve, fault):
  serve(None, *[fault] * 1000)
  with pytest.raises(llm.Unavailable, match='a-model at 127.0.0.1:.*tries'):
    client(max_wait_s=0.1).complete(CHAT, seed=0)


def test_nobody_there(serve, monkeypatch):
  serve(None)
  monkeypatch.setenv('OPENAI_BASE_URL', 'http://me:secret@127.0.0.1:9/v1')
  monkeypatch.setattr(chat, 'STRANGER_S', 0.1)
  with pytest.raises(llm.Unavailable, match='connection failed.*_URL') as e:
    client().complete(CHAT, seed=0)
  assert 'secret' not in str(e.value)


def refusal(serve, monkeypatch, status, **error):
  """What a refused call gives."""
  monkeypatch.setitem(testing.FAULTS, 'no', lambda chat: chat.send(
      status, {'error': error}))
  server = serve(None, 'no')
  try:
    return client().complete(CHAT, seed=0)
  finally:
    assert len(server.asked) == 1


@pytest.mark.parametrize('status, error, text', [
    (401, dict(message=f'Wrong key {KEY}.'), 'set OPENAI_API_KEY'),
    (404, dict(message='No a-model.'), 'No a-model.*has it such a model'),
    (400, dict(message='response_format is unknown'), "form to 'json_object'"),
    (400, dict(message=f'What is {KEY}?'), r'What is \[key\]'),
    (429, dict(message='Pay.', code='insufficient_quota'), 'no money')])
def test_what_will_never_do_fails_at_once_without_the_key(
    serve, monkeypatch, status, error, text):
  with pytest.raises(ValueError, match=text) as e:
    refusal(serve, monkeypatch, status, **error)
  assert KEY not in str(e.value)


@pytest.mark.parametrize('error, end', [
    (dict(message='x', code='context_length_exceeded'), 'no room'),
    (dict(message='The maximum context length is 9.'), 'no room'),
    (dict(message='prompt is too long: 9 tokens > 8 maximum'), 'no room'),
    (dict(message='The input token count (9) exceeds the max'), 'no room'),
    (dict(message='x', code='content_filter'), 'refused'),
    (dict(message='x', code='invalid_prompt'), 'refused'),
    (dict(message='x', code='json_validate_failed'), 'stop'),
    (dict(message='x', code='tool_use_failed'), 'stop')])
def test_some_refused_calls_are_answers(serve, monkeypatch, error, end):
  found = refusal(serve, monkeypatch, 400, **error)
  assert found.end == end and found.problem


def test_a_refusal_of_what_was_served_before_is_of_that_request(
    serve, monkeypatch):
  monkeypatch.setitem(testing.FAULTS, 'no', lambda chat: chat.send(
      400, {'error': {'message': 'It has odd words.'}}))
  serve(lambda body: 'Hello.', '', 'no', 'no')
  shared = client()
  shared.complete(CHAT, seed=0)
  assert shared.complete(CHAT, seed=1).end == 'refused'
  with pytest.raises(ValueError, match='odd words'):  # it may be the tools
    shared.complete(CHAT, tools=(TOOL,), seed=1)


@pytest.mark.parametrize('fields', [
    dict(choices=[]), dict(choices=None, error={'message': 'Odd.'}),
    dict(choices=[{'message': None}])])
def test_answers_without_a_message_are_an_answer_in_the_end(
    serve, monkeypatch, fields):
  monkeypatch.setitem(testing.FAULTS, 'empty',
                      lambda chat: chat.say('', **fields))
  server = serve(lambda body: 'Hello.', *['empty'] * (chat.EMPTY + 1))
  reply = client().complete(CHAT, seed=0)
  assert reply.problem.startswith('an answer that is none')
  tries = len(server.asked)
  assert tries == chat.EMPTY
  assert reply.usage == llm.Usage(30 * tries, 7 * tries, tries)
  reply = client().complete(CHAT, seed=0)  # after one more
  assert reply.message.content == 'Hello.'
  assert reply.usage == llm.Usage(60, 14, 2)


def test_an_error_that_passes_is_waited_for_whatever_its_status(
    serve, monkeypatch):
  monkeypatch.setitem(testing.FAULTS, 'busy', lambda chat: chat.send(
      200, {'error': {'message': 'slow down', 'code': 429}}))
  serve(lambda body: 'Hello.', *['busy'] * 9)
  assert client().complete(CHAT, seed=0).message.content == 'Hello.'


def test_text_in_parts_is_text(serve):
  parts = [{'type': 'thinking', 'thinking': []}, {'type': 'text', 'text': 'a'},
           {'type': 'text', 'text': 'b'}]
  serve(lambda body: {'role': 'assistant', 'content': parts})
  assert client().complete(CHAT, seed=0).message.content == 'ab'


def test_no_try_is_made_once_it_is_stopped(serve):
  server = serve(None, *['busy'] * 10_000)
  shared = client()
  with futures.ThreadPoolExecutor(1) as pool:
    waiting = pool.submit(shared.complete, CHAT, seed=0)
    while not server.asked:
      time.sleep(0.01)
    shared.stop()
    with pytest.raises(llm.Interrupted):
      waiting.result(5)
  tries = len(server.asked)
  with pytest.raises(llm.Interrupted):
    shared.complete(CHAT, seed=1)
  assert len(server.asked) == tries


def test_no_more_calls_at_once_than_allowed(serve):
  lock, now, most = threading.Lock(), [0], [0]
  def answer(body):
    with lock:
      now[0] += 1
      most[0] = max(most[0], now[0])
    time.sleep(0.02)
    with lock:
      now[0] -= 1
    return str(body['seed'])
  serve(answer)
  shared = client(concurrency=3)
  with futures.ThreadPoolExecutor(12) as pool:
    found = pool.map(lambda n: shared.complete(CHAT, seed=n), range(12))
    assert [r.message.content for r in found] == list(map(str, range(12)))
  assert 1 < most[0] <= 3


def test_calls_keep_their_pace(serve):
  times = []
  serve(lambda body: times.append(time.monotonic()) or 'Hi.')
  shared = client(requests_per_minute=600)
  with futures.ThreadPoolExecutor(4) as pool:
    list(pool.map(lambda n: shared.complete(CHAT, seed=n), range(4)))
  assert times[-1] - times[0] > 0.2  # 0.3, but for what travel takes


def test_the_key_is_in_no_log_and_no_repr(serve, caplog, monkeypatch):
  caplog.set_level(logging.DEBUG)
  serve(lambda body: 'Hello.', 'broken')
  shared = client()
  shared.complete(CHAT, seed=0)
  assert caplog.text and KEY not in caplog.text
  assert KEY not in f'{shared!r} {vars(shared)!r} {shared.identity}'


@pytest.mark.parametrize('kw, text', [
    (dict(model=''), 'No model'),
    (dict(sampling=dict(form='xml')), "No form 'xml'"),
    (dict(sampling=dict(temprature=1)), "Did you mean 'temperature'"),
    (dict(limits=dict(timeout_s=0)), 'timeout_s must be above 0, got 0'),
    (dict(key='NO_KEY_HERE'), 'NO_KEY_HERE is not set'),
    (dict(key='BAD_KEY'), 'BAD_KEY holds characters that no key has'),
    (dict(url='NO_URL_HERE'), 'NO_URL_HERE is not set'),
    (dict(key='sk_or_key'), r'not shown here')])
def test_wrong_settings_are_refused(serve, monkeypatch, kw, text):
  serve(None)
  monkeypatch.setenv('BAD_KEY', 'sk-\n-me')
  with pytest.raises(ValueError, match=text):
    chat.OpenAIChat(**{'model': 'm', **kw})
