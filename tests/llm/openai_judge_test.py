"""The judge against a server that speaks the protocol."""

import http.server
import json
import threading

import pytest

from agentrl import types
from agentrl.llm import openai_judge

pytest.importorskip('openai', reason='needs pip install -e .[llm]')
TALK = [types.Message('assistant', 'Hi! How can I help you today?'),
        types.Message('user', 'Cancel it. ###STOP###')]


@pytest.fixture
def server(monkeypatch):
  """A chat completions server: answers `answer`, keeps what it was asked."""
  class Server(http.server.HTTPServer):
    answer, asked = '', None

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
      body = self.rfile.read(int(self.headers['Content-Length']))
      self.server.asked = json.loads(body)
      reply = json.dumps({
          'id': 'x', 'object': 'chat.completion', 'created': 0, 'model': 'm',
          'choices': [{'index': 0, 'finish_reason': 'stop', 'message': {
              'role': 'assistant', 'content': self.server.answer}}]}).encode()
      self.send_response(200)
      self.send_header('Content-Type', 'application/json')
      self.send_header('Content-Length', str(len(reply)))
      self.end_headers()
      self.wfile.write(reply)
    def log_message(self, *args):
      pass

  found = Server(('127.0.0.1', 0), Handler)
  threading.Thread(target=found.serve_forever, daemon=True).start()
  monkeypatch.setenv('OPENAI_BASE_URL',
                     f'http://127.0.0.1:{found.server_port}/v1')
  monkeypatch.setenv('OPENAI_API_KEY', 'none')
  monkeypatch.setenv('NO_PROXY', '127.0.0.1')
  yield found
  found.shutdown()


def test_verdicts_in_order_of_the_statements(server):
  server.answer = '{"met": [true, false]}'
  judge = openai_judge.Judge('a-model')
  assert judge(['It is so.', 'It is not.'], TALK) == [True, False]
  assert server.asked['model'] == 'a-model'
  text = server.asked['messages'][1]['content']
  assert 'user: Cancel it.' in text and '2. It is not.' in text


@pytest.mark.parametrize('answer', [
    'yes', '{"met": [true]}', '{"met": ["true", 1]}', '{"met": true}', '[]'])
def test_any_other_answer_is_an_error(server, answer):
  server.answer = answer
  with pytest.raises(ValueError, match='with 2 verdicts'):
    openai_judge.Judge('a-model')(['a', 'b'], TALK)


def test_no_model_is_an_error():
  with pytest.raises(ValueError, match='judge_kw.model'):
    openai_judge.Judge('')
