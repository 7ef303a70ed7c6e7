"""Requests, products and rules of retail in words."""

from agentrl.eigendata.tau2.retail import words


def test_requests_and_products_in_words():
  scenario = ("Reason for call:\n  You want to undo your order. Be insistent."
              ' You would like a refund, but if the agent cannot, leave. '
              'Known info:\n You are Jo.')
  assert words.reason_for_call(scenario) == (
      'I want to undo my order. I would like a refund.')
  assert words.mentions('two tshirts', 'T-Shirt')
  assert words.mentions('the watch', 'Wristwatch')
  assert not words.mentions('a cancelled order', 'Pet Bed')
  assert words.rule('undo the cancellation').startswith('A cancelled order')
  items = [{'name': n} for n in ('Lamp', 'Lamp', 'Grill')]
  assert words.names(items) == 'the 2 Lamp items and the Grill'
