"""Nothing is spent beyond the caps, however many spend at once."""

from concurrent import futures
import threading

import pytest

from agentrl import types
from agentrl.llm import budget
from agentrl.llm import llm

CHAT = [types.Message('system', 'Do.')]
MOST = budget.most_tokens(CHAT, None, ())
IDENTITY = {'model': 'm', 'max_tokens': 50}


class Costly:
  """Every call costs 100 tokens read, 40 of them cached, and 50 written."""

  def __init__(self, fails=False):
    self.fails, self.calls = fails, 0
    self.lock = threading.Lock()

  def complete(self, messages, *, schema=None, tools=(), seed):
    with self.lock:
      self.calls += 1
    if self.fails:
      raise llm.Unavailable('gone')
    return llm.Answer(types.Message('assistant', 'Hi.'),
                     usage=llm.Usage(100, 50, 1, 40))


def paid(ledger, inner=None):
  return budget.Paid(inner or Costly(), IDENTITY, budget.Price(1.0, 2.0, 0.5),
                     ledger)


def test_a_price_of_each_kind_of_token():
  usage = llm.Usage(100, 50, 1, cached_tokens=40)
  # 60 fresh at 1, 40 cached at 0.5, 50 written at 2, for a million.
  assert budget.Price(1.0, 2.0, 0.5).of(usage) == pytest.approx(180e-6)


def test_a_call_is_written_down():
  ledger = budget.Ledger()
  reply = paid(ledger).complete(CHAT, seed=0)
  assert reply.usage == ledger.spent
  assert ledger.spent.dollars == pytest.approx(180e-6)


@pytest.mark.parametrize('cap', [
    dict(tokens=3 * 150 + MOST + 50 - 1),
    dict(dollars=3 * 180e-6 + (MOST + 100) * 1e-6 - 1e-9)])
def test_the_last_call_is_the_one_that_surely_fits(cap):
  ledger, inner = budget.Ledger(**cap), Costly()
  llm_ = paid(ledger, inner)
  for _ in range(3):
    llm_.complete(CHAT, seed=0)
  with pytest.raises(llm.OverBudget, match='450 tokens are spent'):
    llm_.complete(CHAT, seed=0)
  assert inner.calls == 3 and ledger.stopped.startswith('over budget')


def test_threads_wait_for_each_other_rather_than_stop_early():
  ledger, inner = budget.Ledger(tokens=20 * 150 + MOST + 50), Costly()
  llm_ = paid(ledger, inner)
  def spend(_):
    try:
      return llm_.complete(CHAT, seed=0)
    except llm.OverBudget:
      return None
  with futures.ThreadPoolExecutor(8) as pool:
    done = list(pool.map(spend, range(40)))
  assert sum(r is not None for r in done) == inner.calls == 21
  assert ledger.spent.tokens == 21 * 150


def test_a_call_that_failed_holds_nothing_back():
  ledger = budget.Ledger(tokens=MOST + 50)
  with pytest.raises(llm.Unavailable):
    paid(ledger, Costly(fails=True)).complete(CHAT, seed=0)
  assert ledger.spent == llm.Usage()
  paid(ledger).complete(CHAT, seed=0)


def test_who_waits_is_woken_when_the_run_is_over():
  ledger = budget.Ledger(tokens=100)
  ledger.reserve(llm.Usage(80))
  with futures.ThreadPoolExecutor(1) as pool:
    waiting = pool.submit(ledger.reserve, llm.Usage(80))
    ledger.close()
    with pytest.raises(llm.Interrupted):
      waiting.result(10)


def test_the_cap_holds_over_all_starts(tmp_path):
  cap = dict(tokens=2 * 150 + MOST + 50 - 1)
  for spent in (1, 2):
    ledger = budget.Ledger(**cap)
    ledger.keep(tmp_path / 'paid.json')
    paid(ledger).complete(CHAT, seed=0)
    assert ledger.spent.tokens == spent * 150
  ledger = budget.Ledger(**cap)
  ledger.keep(tmp_path / 'paid.json')
  with pytest.raises(llm.OverBudget):
    paid(ledger).complete(CHAT, seed=0)


def test_a_call_for_nothing_leaves_no_file(tmp_path):
  """A stage that failed at its first call may be given another config."""
  ledger = budget.Ledger()
  ledger.keep(tmp_path / 'paid.json')
  with pytest.raises(llm.Unavailable):
    paid(ledger, Costly(fails=True)).complete(CHAT, seed=0)
  assert not list(tmp_path.iterdir())


def test_evolution_has_its_share_and_no_more():
  ledger = budget.Ledger(tokens=2 * (MOST + 50), evolve_share=0.5)
  with ledger.evolving():
    paid(ledger).complete(CHAT, seed=0)
    with pytest.raises(llm.OverBudget, match='evolution has 50% of all'):
      paid(ledger).complete(CHAT, seed=0)
  assert not ledger.stopped
  paid(ledger).complete(CHAT, seed=0)


def test_the_bound_of_a_prompt_is_one():
  text = 'ö' * 50
  assert budget.most_tokens([types.Message('user', text)], None, ()) > 100
  assert budget.most_tokens([], {'title': text}, ({'name': text},)) > 200
