"""The judge against a server that speaks the protocol."""

import pytest

from agentrl import types
from agentrl.llm.openai import assertions

pytest.importorskip('openai', reason='needs pip install -e .[llm]')
TALK = [types.Message('assistant', 'Hi! How can I help you today?'),
        types.Message('user', 'Cancel it. ###STOP###')]


def test_verdicts_in_order_of_the_statements(serve):
  server = serve(lambda body: '{"met": [true, false]}')
  judge = assertions.AssertionJudge('a-model')
  assert judge(['It is so.', 'It is not.'], TALK) == [True, False]
  [asked] = server.asked
  assert asked['model'] == 'a-model' and asked['temperature'] == 0
  text = asked['messages'][1]['content']
  assert 'user: Cancel it.' in text and '2. It is not.' in text


@pytest.mark.parametrize('answer', [
    'yes', '{"met": [true]}', '{"met": ["true", 1]}', '{"met": true}', '[]'])
def test_any_other_answer_is_an_error(serve, answer):
  server = serve(lambda body: answer)
  with pytest.raises(ValueError, match='with 2 verdicts'):
    assertions.AssertionJudge('a-model')(['a', 'b'], TALK)
  assert len(server.asked) == 2  # it was shown its mistake


def test_no_model_is_an_error():
  with pytest.raises(ValueError, match='judge_kw.model'):
    assertions.AssertionJudge('')
