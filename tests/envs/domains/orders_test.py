"""The domain `orders`: its database, and the contract of every demand."""

import collections
import dataclasses
import functools
import itertools
import random
import re

import pytest

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import domain
from agentrl.envs import state as state_lib
from agentrl.envs import tools as tools_lib
from agentrl.envs.domains.orders import scripts
from agentrl.envs.domains.orders import state as database
from agentrl.envs.domains.orders import tasks
from agentrl.envs.domains.orders import tools

ENV = domain.Domain('agentrl.envs.domains.orders')
TABLE = tools_lib.by_name(tools.AGENT)


def call(state, name, /, **arguments) -> types.Message:
  return tools_lib.call(TABLE, state, types.ToolCall(name, arguments))


@dataclasses.dataclass(frozen=True)
class Run:
  """A gold run of a demand, with the opening in its place.

  Attributes:
    knowledge: what the caller knows of themselves.
    demand: as drafted.
    steps: (beat, what its call showed, whether it wrote).
    changes: of the state, by all of it.
  """

  knowledge: str
  demand: domain.Demand
  steps: tuple[tuple[types.Beat, str, bool], ...]
  changes: dict


@functools.lru_cache(maxsize=4)
def gold_runs(split: str, seed: int = 0) -> list[Run]:
  """Of every caller and family that fit."""
  rng = random.Random(seed)
  state = state_lib.State(database.build(seed, split))
  pairs = itertools.product(tasks.callers(state), tasks.FAMILIES)
  return [gold_run(state, caller, demand) for caller, family in pairs
          if (demand := family(state, caller, rng))]


def gold_run(state, caller, demand) -> Run:
  assert state.changes() == {}, 'Drafting must leave the state alone.'
  knowledge, opening = tasks.opening(state, caller)
  first, *rest = demand.beats
  done, changes = [], {}
  for beat in (first, *opening, *rest):
    shown = ''
    if beat.call:
      result = call(state, beat.call, **beat.arguments)
      assert not result.error, (beat, result)
      shown = result.content
    wrote = changes != (changes := state.changes())
    done.append((beat, shown, wrote))
  state.rewind({})
  return Run(knowledge, demand, tuple(done), changes)


def facts(*texts) -> set[str]:
  """Ids and numbers."""
  return set(re.findall(rf'{tasks.ENTITY}|\b\d+\b', ' '.join(map(str, texts))))


class TestDatabase:

  def test_splits_share_words_but_no_entity(self):
    names, words = {}, {}
    for split in database.SIZES:
      tables = [database.build(seed, split) for seed in range(4)]
      names[split] = {key for t in tables
                      for key in (*t['customers'], *t['orders'])}
      words[split] = {w.lower() for n in names[split]
                      for w in re.findall('[A-Z]?[a-z]+', n)}
    assert not names['train'] & names['test']
    assert words['train'] == words['test']

  def test_is_a_function_of_its_arguments(self):
    assert database.build(3, 'train') == database.build(3, 'train')
    assert database.build(3, 'train') != database.build(4, 'train')
    with pytest.raises(ValueError, match="got 'dev'"):
      database.build(0, 'dev')

  def test_tables_agree(self):
    tables = database.build(0, 'train')
    people, count = database.SIZES['train']
    assert len(tables['customers']) == people
    assert len(tables['orders']) == count
    assert set(tables['orders']) == set(tables['payments'])
    for name, customer in tables['customers'].items():
      assert customer['orders'] == [key for key, o in tables['orders'].items()
                                    if o['customer'] == name]
    for key, order in tables['orders'].items():
      price = tables['products'][order['item']]['price']
      assert tables['payments'][key]['amount'] == price

  def test_no_color_hides_in_another_word(self):
    words = (*database.PRICES, 'credit', 'card', *tools.Color.__args__)
    for color in database.COLORS:
      assert [w for w in words if color in w] == [color]
    assert tools.Color.__args__ == database.COLORS


@pytest.mark.parametrize('split', database.SIZES)
class TestContract:
  """What the data engine relies on, for every caller and family."""

  def test_drafting_is_repeatable(self, split):
    assert gold_runs(split) == gold_runs.__wrapped__(split)

  def test_beats_obey_the_dialogue_rules(self, split):
    for run in gold_runs(split):
      beats = [beat for beat, _, _ in run.steps]
      assert beats[0].by == 'user' and beats[0].say
      assert beats[-1].by == 'assistant' and beats[-1].say
      for beat, then in itertools.pairwise(beats):
        assert bool(beat.say) != bool(beat.call)
        assert (then.by == beat.by) == bool(beat.call)

  def test_the_caller_is_identified_first(self, split):
    for run in gold_runs(split):
      first = next(beat for beat, _, _ in run.steps if beat.call)
      assert first.call == 'find_customer'

  def test_giving_up_does_not_pass(self, split):
    idle = (dialogue.GREETING.content + ' I am sorry, I cannot help with that.'
            ' You are being transferred to a human.').lower()
    for run in gold_runs(split):
      kind, tell = run.demand.kind, run.demand.tell
      assert tell and not any(fact in idle for fact in tell)
      assert run.changes or kind in ('refuse', 'fallback')
      assert ('desk.transfer.reason' in run.changes) == (kind == 'transfer')

  def test_every_wording_says_what_must_be_said(self, split):
    for run in gold_runs(split):
      said = {side: [[text.lower() for text in b.say]
                     for b in run.demand.beats if b.by == side and b.say]
              for side in ('user', 'assistant')}
      for side, words in dict(user=(*run.demand.about, *run.demand.answers),
                              assistant=run.demand.tell).items():
        for word in words:
          assert any(all(word.lower() in text for text in say)
                     for say in said[side]), (word, run.demand)
      goal = run.demand.goal.lower()
      assert all(word.lower() in goal
                 for word in (*run.demand.about, *run.demand.answers))

  def test_writes_come_after_their_name_and_a_yes(self, split):
    for run in gold_runs(split):
      named, agreed = set(), False
      for beat, _, wrote in run.steps:
        if beat.say and beat.by == 'assistant':
          named = set.intersection(*map(facts, beat.say))
        elif beat.say:
          agreed = beat == scripts.YES
        elif wrote and beat.call != 'transfer_to_human':
          assert agreed and beat.arguments['order'] in named, beat

  @pytest.mark.parametrize('side', ['assistant', 'user'])
  def test_nobody_knows_what_they_have_not_met(self, split, side):
    """Ids and numbers were shown or said before, or stand in the prompt."""
    for run in gold_runs(split):
      known = facts(*((ENV.policy,) if side == 'assistant' else (
          run.knowledge, run.demand.goal)))
      for beat, shown, _ in run.steps:
        used = facts(*beat.say, *beat.arguments.values())
        if beat.by == side:
          assert used <= known, (beat, used - known)
          known |= facts(shown)
        elif beat.say:
          known |= used

  def test_is_short(self, split):
    for run in gold_runs(split):
      assert len(run.demand.goal.split()) <= 30
      for beat, shown, _ in run.steps:
        most = 15 if beat.by == 'user' else 22
        assert all(len(text.split()) <= most for text in beat.say), beat
        assert not beat.say or len(set(beat.say)) == len(beat.say) >= 3
        assert len(shown.split()) <= 25, shown

  def test_every_tool_and_kind_is_met(self, split):
    met, kinds = set(), collections.defaultdict(collections.Counter)
    for run in gold_runs(split):
      met |= {beat.call for beat, _, _ in run.steps if beat.call}
      kinds[run.demand.family][run.demand.kind] += 1
    assert met == set(TABLE)
    assert set(kinds) == {f.__name__ for f in tasks.FAMILIES}
    assert all(len(k) >= 2 for k in kinds.values()), kinds
    total = sum(kinds.values(), collections.Counter())
    assert 0.6 < total['do'] / total.total() < 0.8
