"""The domain `router`: its database, and the contract of every demand."""

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
from agentrl.envs.domains.router import phrases
from agentrl.envs.domains.router import state as database
from agentrl.envs.domains.router import tasks
from agentrl.envs.domains.router import tools

ENV = domain.Domain('agentrl.envs.domains.router')
TABLE = {'assistant': tools_lib.by_name(tools.AGENT),
         'user': tools_lib.by_name(tools.USER)}


def call(state, name, by='assistant', /, **arguments) -> types.Message:
  return tools_lib.call(TABLE[by], state, types.ToolCall(
      name, arguments, requestor=by))


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
  steps, changes = [], {}
  for beat in (first, *opening, *rest):
    shown = ''
    if beat.call:
      result = call(state, beat.call, beat.by, **beat.arguments)
      assert not result.error, (beat, result)
      shown = result.content
    wrote = changes != (changes := state.changes())
    steps.append((beat, shown, wrote))
  state.rewind({})
  return Run(knowledge, demand, tuple(steps), changes)


def facts(*texts) -> set[str]:
  """Ids and numbers."""
  return set(re.findall(rf'{tasks.ENTITY}|\b\d+\b', ' '.join(map(str, texts))))


class TestDatabase:

  def test_splits_share_words_but_no_entity(self):
    names, words = {}, {}
    for split in database.SPLITS:
      rows = [database.build(seed, split) for seed in (0, 1)]
      names[split] = {key for tables in rows for table in tables
                      for key in tables[table] if '-' in key}
      names[split] |= {home['name'] for tables in rows
                       for home in tables['accounts'].values()}
      words[split] = {w for n in names[split] for w in re.split('[- ]', n)}
    assert not names['train'] & names['test']
    assert words['train'] == words['test']

  def test_is_a_function_of_its_arguments(self):
    assert database.build(3, 'train') == database.build(3, 'train')
    assert database.build(3, 'train') != database.build(4, 'train')
    with pytest.raises(ValueError, match="got 'dev'"):
      database.build(0, 'dev')

  def test_a_caller_has_one_account_line_and_router(self):
    tables = database.build(0, 'train')
    homes = tables['accounts']
    assert len(homes) == database.CALLERS
    assert set(homes) == set(tables['lines']) == set(tables['visits'])
    assert {home['router']: key for key, home in homes.items()} == {
        key: device['account'] for key, device in tables['devices'].items()}
    assert len({home['name'] for home in homes.values()}) == len(homes)


@pytest.mark.parametrize('split', database.SPLITS)
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

  def test_giving_up_does_not_pass(self, split):
    idle = (dialogue.GREETING.content + ' I am sorry, I cannot help with that.'
            ' Transferring you now.').lower()
    for run in gold_runs(split):
      kind, tell = run.demand.kind, run.demand.tell
      assert tell and not any(fact in idle for fact in tell)
      assert run.changes or kind in ('refuse', 'fallback')
      handed = 'desk.call.transfer' in run.changes
      assert handed == (kind == 'transfer')

  def test_every_wording_says_what_must_be_said(self, split):
    for run in gold_runs(split):
      asked = run.demand.beats[0].say
      for word in run.demand.about:
        assert all(word in text.lower() for text in (run.demand.goal, *asked))
      said = [b.say for b in run.demand.beats if b.by == 'assistant' and b.say]
      for fact in run.demand.tell:
        assert any(all(fact in t.lower() for t in say) for say in said), fact

  def test_writes_come_after_their_name_and_a_yes(self, split):
    for run in gold_runs(split):
      named, agreed = set(), set()
      for beat, _, wrote in run.steps:
        if beat.by == 'user':
          agreed |= named
        elif beat.say:
          named |= set.intersection(*map(facts, beat.say))
        elif wrote:
          ids = re.findall(tasks.ENTITY, ' '.join(
              map(str, beat.arguments.values())))
          assert set(ids) <= agreed, (beat, agreed)

  @pytest.mark.parametrize('side', TABLE)
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
      assert len(run.knowledge.split()) <= 14
      for beat, shown, _ in run.steps:
        most = 15 if beat.by == 'user' else 22
        assert all(len(text.split()) <= most for text in beat.say), beat
        assert len(shown.split()) <= 25, shown

  def test_every_tool_and_kind_is_met(self, split):
    met, kinds = set(), collections.defaultdict(collections.Counter)
    for run in gold_runs(split):
      met |= {(beat.by, beat.call) for beat, _, _ in run.steps if beat.call}
      kinds[run.demand.family][run.demand.kind] += 1
    assert met == {(side, name) for side in TABLE for name in TABLE[side]}
    assert set(kinds) == {f.__name__ for f in tasks.FAMILIES}
    assert all(len(k) >= 3 for k in kinds.values()), kinds
    total = sum(kinds.values(), collections.Counter())
    assert 0.6 < total['do'] / total.total() < 0.8


def test_phrases_come_in_variants_without_ids():
  for say in (*phrases.USER.values(), *phrases.AGENT.values()):
    assert len(set(say)) == len(say) >= 3
    assert not any(re.search(tasks.ENTITY, text) for text in say)
