"""The questions of a retail user and the facts that answer them."""

from agentrl.eigendata.tau2.retail import user


def test_facts_tell_numbers_by_value_and_words_as_such():
  fact = user.total('x', '{}', [100.5, -20.1])
  assert fact.tells('80.40') and fact.tells('80.4') and not fact.tells('80')
  fact = user.Fact('x', 'y', ('10', 'Action Camera', '20 hours'))
  assert fact.tells('10') and fact.tells('camera') and fact.tells('20 hours')
  assert not fact.tells('1') and not fact.tells('cam')
