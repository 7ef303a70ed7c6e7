"""The folder of a whole chain, with the shapes of a real one and made-up runs.

`dialogues.jsonl` holds tasks of the built-in domains with their gold dialogues.
"""

from __future__ import annotations

from collections.abc import Sequence
import json
import pathlib
import shutil

import numpy as np
import pytest

from agentrl import files
from agentrl import jsons
from agentrl import metrics
from agentrl import types
from agentrl.envs import checkers
from agentrl.envs import dialogue
from agentrl.eval import results
from agentrl.stage import inputs
from agentrl.stage import runs
from agentrl.tokenizer import chat
from agentrl.tokenizer import vocab as vocab_lib

O = types.Outcome
Dialogue = tuple[types.Task, tuple[types.Message, ...]]
SPLIT = {
    'tried': 140, 'kept': 100,
    'rejected': {'TaskValidation: missing detail': 21,
                 'RandomPool: no caller fits': 9,
                 'TrajectoryValidation: judge objects': 6,
                 'Certificate: argument changed': 4},
    'examples': {'RandomPool: no caller fits': 'a <plan>'},
    'repaired': {'dialogue: user fault': 7}, 'combinations': 31,
    'mutants': {'total': 1000, 'killed': 900, 'equivalent': 100, 'score': 1.0,
                'first_score': 0.97, 'first_checkers': 104,
                'first_with_false_accepts': 7,
                'false_accepts': {'unasked': 5, 'forbidden': 4}},
    'domains': {'orders': 60, 'router': 40}, 'kinds': {'do': 80, 'refuse': 20},
    'demands': {'2': 70, '3': 30}, 'families': {'cancel': 60, 'slow': 40},
    'lengths': {'scenario_words': [20, 30, 50], 'dialogue_messages': []},
    'vocabulary': {'scenario': 300, 'assistant': 200}}


def read_dialogues(path: pathlib.Path) -> list[Dialogue]:
  records = map(json.loads, path.read_text().splitlines())
  return [(jsons.from_json(types.Task, r['task']),
           jsons.all_from_json(types.Message, r['messages']))
          for r in records]


def _manifest(folder: pathlib.Path, **facts) -> None:
  files.write_json(folder / 'manifest.json', {
      'format': inputs.FORMAT, 'stage': folder.name, 'made': {},
      'seconds': 61.5, **facts})


def _spoiled(messages: Sequence[types.Message]) -> tuple[types.Message, ...]:
  """The dialogue in which the agent gives up half way."""
  turns = [i for i, m in enumerate(messages)
           if m.role == 'assistant' and not m.is_call]
  return (*messages[:turns[len(turns) // 2]],
          types.Message('assistant', 'I am sorry, I cannot help with that.'),
          types.Message('user', dialogue.STOP))


def _trace(vocab, messages, side, rng) -> types.Trace:
  parts = [[], [], [], []]
  for i, m in dialogue.view(messages, side, types.Message(
      'system', f'You are the {side}.')):
    ids, authors = chat.render(vocab, m)
    if m == dialogue.GREETING:
      authors = [types.Author.TEMPLATE] * len(ids)
    logp = [-rng.exponential(0.3) if a == types.Author.SELF else 0.0
            for a in authors]
    for part, more in zip(parts, (ids, authors, logp, [i] * len(ids))):
      part += more
  kinds = (np.int32, np.int8, np.float32, np.int16)
  return types.Trace(*(np.array(p, k) for p, k in zip(parts, kinds)))


def _episode(vocab, task, messages, trial, good, rng) -> types.Episode:
  faulty = not good and rng.random() < 0.15
  messages = messages if good else _spoiled(messages)
  clauses = checkers.run(task.checker, {}, checkers.events(messages))
  clauses = {name: good or ok for name, ok in clauses.items()}
  outcome = O.SUCCESS if good else O.USER_FAULT if faulty else O.FAILURE
  note = ('The user never mentioned day 31.' if faulty else
          '; '.join(name for name, ok in clauses.items() if not ok))
  return types.Episode(
      task.id, trial, messages, 'user_stop', outcome,
      types.Score(float(good), clauses=clauses), len(messages), note=note,
      agent=_trace(vocab, messages, 'assistant', rng),
      user=_trace(vocab, messages, 'user', rng))


def _evaluation(folder, dialogues, vocab, ability, trials, rng) -> None:
  tasks = [task for task, _ in dialogues]
  episodes = []
  for task, messages in dialogues:
    easy = np.clip(rng.beta(1.2, 1.2) - 0.5 + ability, 0, 1)
    episodes += [_episode(vocab, task, messages, g, bool(rng.random() < easy),
                          rng)
                 for g in range(trials)]
  none = [0.0] * len(tasks)
  results.write(folder, tasks, episodes, {
      **results.summarize(tasks, episodes, scripts={
          'noop': none, 'refuse': none, 'gold': [1.0] * len(tasks),
          'transfer': [float(t.kind == 'transfer') for t in tasks]}),
      'measurement': '0123456789abcdef', 'measurement_parts': {'user': 'u'},
      'seed': 0, 'versions': runs.versions()})
  _manifest(folder)


def _learning(folder, steps, rng, **final) -> None:
  """Metrics that go from 1 to their final values, with noise."""
  writer = metrics.MetricsWriter(folder)
  for step in range(steps):
    rest = np.exp(-4 * step / steps)
    writer.write(step, {
        name.replace('__', '/'): end + (start - end) * rest
        + 0.06 * abs(start - end) * rng.normal()
        for name, (start, end) in final.items()})
  writer.close()
  _manifest(folder, peak_memory_gib=2.75)


def make_chain(folder: pathlib.Path, dialogues: Sequence[Dialogue],
               stats=None, trials: int = 4) -> pathlib.Path:
  """A finished chain of all stages."""
  rng = np.random.default_rng(0)
  vocab = vocab_lib.train(
      [m.content for _, messages in dialogues for m in messages if m.content]
      + [t.scenario for t, _ in dialogues], 700)
  _manifest(folder / 'tokenizer', size=vocab.size)
  files.write_lines(folder / 'data' / 'tasks_test.jsonl',
                      (jsons.dumps(task) for task, _ in dialogues))
  files.write_json(folder / 'data' / 'stats.json',
                     stats or {'train': SPLIT, 'test': SPLIT})
  _manifest(folder / 'data')
  for stage in ('user_sft', 'agent_sft'):
    _learning(folder / stage, 120, rng, train__loss=(4.1, 0.31),
              train__entropy_nats=(3.9, 0.28), train__grad_norm=(6.0, 0.7))
    vocab.save(folder / stage / 'vocab.model')
  _learning(
      folder / 'grpo', 30, rng, train__loss=(0.02, -0.01),
      train__reward_mean=(0.42, 0.63), train__entropy_nats=(0.30, 0.21),
      train__dead_all_fail_share=(0.3, 0.2), train__clip_share=(0.0, 0.02),
      train__dead_all_pass_share=(0.1, 0.35), train__kl_old_nats=(0, 0.002),
      train__dead_too_few_share=(0.0, 0.0), train__grad_norm=(1.2, 0.5),
      train__outcome_user_fault_share=(0.05, 0.04),
      train__outcome_agent_limit_share=(0.03, 0.01),
      train__steps_mean=(31.0, 27.0), time__rollout_s=(9.0, 7.5),
      train__logp_gap_mean=(2e-6, 2e-6), time__agent_tokens_per_s=(900, 1100),
      time__update_s=(4.0, 4.1))
  for name, ability in (('sft', 0.42), ('grpo', 0.6)):
    _evaluation(folder / f'eval_{name}', dialogues, vocab, ability, trials,
                np.random.default_rng(1))
  return folder


@pytest.fixture(scope='session')
def dialogues() -> list[Dialogue]:
  return read_dialogues(pathlib.Path(__file__).parent / 'dialogues.jsonl')


@pytest.fixture(scope='session')
def _chain(tmp_path_factory, dialogues) -> pathlib.Path:
  return make_chain(tmp_path_factory.mktemp('made') / 'chain', dialogues)


@pytest.fixture
def chain(_chain, tmp_path) -> pathlib.Path:
  return shutil.copytree(_chain, tmp_path / 'chain')
