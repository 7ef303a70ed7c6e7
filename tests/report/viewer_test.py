"""Which dialogues are shown, and who wrote which token."""

import dataclasses

import numpy as np
import pytest

from agentrl import types
from agentrl.report import viewer

A, O = types.Author, types.Outcome
PIECES = ['<pad>', '<|assistant|>', ' Hi', ' Yes', '<|end|>', '<|tool|>', ' 7']


def _trace(*rows):
  """(id, author, logp, turn) of each token."""
  kinds = (np.int32, np.int8, np.float32, np.int16)
  return types.Trace(*(np.array(c, k) for c, k in zip(zip(*rows), kinds)))


def _episode(outcome=O.SUCCESS, trial=0):
  call = types.ToolCall('look', {'n': 7, 'name': 'x'}, 'c')
  return types.Episode(
      't', trial, (types.Message('assistant', 'Hi', (call,)),
                   types.Message('tool', '7', id='c', error=True),
                   types.Message('user', 'Yes', requestor='user')),
      'user_stop', outcome, types.Score(float(outcome == O.SUCCESS)), 3,
      agent=_trace((5, A.SYSTEM, 0, -1), (1, A.TEMPLATE, 0, 0),
                   (2, A.SELF, np.log(0.95), 0), (4, A.SELF, np.log(0.1), 0),
                   (5, A.TEMPLATE, 0, 1), (6, A.TOOL, 0, 1),
                   (3, A.OTHER, 0, 2)),
      user=_trace((2, A.OTHER, 0, 0), (3, A.SELF, np.log(0.5), 2)))


def test_a_turn_is_shown_as_it_was_said_not_as_history_keeps_it():
  episode = _episode()
  trace = _trace((1, A.TEMPLATE, 0, 0), (2, A.SELF, -1, 0), (3, A.SELF, -1, 0),
                 (1, A.TEMPLATE, 0, 0), (3, A.TEMPLATE, 0, 0))
  trace = dataclasses.replace(trace, rewound_T=np.array([1, 1, 1, 0, 0], bool))
  episode = dataclasses.replace(episode, agent=trace)
  shown = viewer.tokens(episode, 'assistant', 0, PIECES.__getitem__)
  assert [t.text for t in shown] == ['<|assistant|>', ' Hi', ' Yes']


def test_turns_show_words_calls_results_and_authors():
  agent, tool, user = viewer.turns(_episode(), PIECES.__getitem__)
  assert (agent.speaker, agent.text) == ('Agent', 'Hi')
  assert agent.calls == ('look(n=7, name="x")',)
  assert (tool.speaker, tool.side, tool.error) == ('Tool', 'assistant', True)
  assert [t.text for t in agent.tokens] == ['<|assistant|>', ' Hi', '<|end|>']
  assert [t.author for t in agent.tokens] == ['template', 'agent', 'agent']
  # 1 - p in fifths, rounded up.
  assert [t.doubt for t in agent.tokens] == [0, 1, 5]
  assert agent.tokens[1].logp == pytest.approx(np.log(0.95))
  assert [t.author for t in tool.tokens] == ['template', 'tool']
  assert [(t.author, t.doubt) for t in user.tokens] == [('user', 3)]


def test_a_side_without_a_trace_is_shown_as_the_other_heard_it():
  episode = dataclasses.replace(_episode(), user=None)
  user = viewer.turns(episode, PIECES.__getitem__)[2]
  assert [(t.text, t.author) for t in user.tokens] == [(' Yes', 'other')]
  assert viewer.tokens(episode, 'user', -1, str) == ()  # nobody's business
  silent = dataclasses.replace(episode, agent=None)
  assert viewer.turns(silent, PIECES.__getitem__)[2].tokens == ()


def _tasks(**kinds):
  return {name: types.Task(name, 'd', '', kind=kind)
          for name, kind in kinds.items()}


def _run(**outcomes):
  key = {'S': O.SUCCESS, 'F': O.FAILURE, 'U': O.USER_FAULT}
  return {name: [_episode(key[x], g) for g, x in enumerate(word)]
          for name, word in outcomes.items()}


def test_tasks_are_chosen_by_rule():
  tasks = _tasks(a='do', b='do', c='do', d='do', e='refuse', f='do', g='do')
  before = _run(a='FF', b='SF', c='SS', d='FF', e='SS', f='SS', g='SU')
  after = _run(a='FS', b='SF', c='FF', d='FF', e='SS', f='SS', g='SU')
  cases = viewer.choose(tasks, {'SFT': before, 'GRPO': after}, piece=str)
  assert [(c.rule, c.task.id) for c in cases] == [
      ('Learned', 'a'), ('Unlearned', 'c'), ('Not solved', 'd'),
      ('User at fault', 'g'), ('Refusal, transfer or fallback', 'e'),
      ('Solved', 'f')]
  learned, unlearned = cases[0].shown, cases[1].shown
  assert [s.run for s in learned] == ['SFT', 'GRPO']
  assert [s.episode.outcome for s in learned] == [O.FAILURE, O.SUCCESS]
  assert [s.episode.outcome for s in unlearned] == [O.SUCCESS, O.FAILURE]
  assert cases[3].shown[1].episode.trial == 1  # the one with the fault
  assert [(s.passed, s.trials) for s in learned] == [(0, 2), (1, 2)]


def test_the_second_best_fill_up_and_none_stands_there_twice():
  tasks = _tasks(a='do', b='do', c='do', d='do')
  run = _run(a='SS', b='SS', c='SS')
  cases = viewer.choose(tasks, {'SFT': run}, piece=str)
  assert [c.task.id for c in cases] == ['a', 'b']  # d was not played
  assert len(viewer.choose(tasks, {'SFT': run}, piece=str, count=1)) == 1


def test_long_prompts_are_cut():
  long = _trace(*[(5, A.SYSTEM, 0, -1)] * (viewer.PROMPT + 1))
  episode = dataclasses.replace(_episode(), agent=long)
  case, = viewer.choose(_tasks(t='do'), {'SFT': {'t': [episode]}}, piece=str)
  shown, = case.shown
  assert len(shown.prompt) == viewer.PROMPT < shown.prompt_length
