"""Traces -> batch; sampler and trainer agree on every log-probability."""

import json

import numpy as np
import pytest

from agentrl import jsons
from agentrl import testing
from agentrl import types
from agentrl.envs import dialogue
from agentrl.models import logprobs
from agentrl.rollout import engine as engine_lib
from agentrl.rollout import play
from agentrl.rollout import policy
from agentrl.rollout import trajectory

A = types.Author


def episode(ids, authors, logps, task='t'):
  trace = types.Trace(
      np.array(ids, np.int32), np.array(authors, np.int8),
      np.array(logps, np.float32), np.zeros(len(ids), np.int16))
  return types.Episode(task, 0, (), 'user_stop', types.Outcome.SUCCESS,
                       types.Score(1.0), 1, agent=trace)


def test_worked_example():
  batch = trajectory.to_batch(
      [episode([5, 6], [A.TEMPLATE, A.SELF], [0, -0.5]),
       episode([7, 8, 9], [A.OTHER, A.SELF, A.SELF], [0, -1, -2])],
      [2.0, -1.0], length=6, buckets=(2,))
  expected = {
      'ids_BT': [7, 8, 9, 5, 6, 0], 'positions_BT': [0, 1, 2, 0, 1, 0],
      'segments_BT': [1, 1, 1, 2, 2, 0], 'target_BT': [0, 1, 1, 0, 1, 0],
      'logp_old_BT': [0, -1, -2, 0, -0.5, 0], 'adv_BT': [0, -1, -1, 0, 2, 0]}
  assert set(batch) == set(expected)
  for name, row_T in expected.items():
    np.testing.assert_array_equal(batch[name], [row_T, [0] * 6], name)
  assert batch['adv_BT'].dtype == batch['logp_old_BT'].dtype == np.float32


def test_errors():
  good = episode([5, 6], [A.TEMPLATE, A.SELF], [0, -0.5])
  with pytest.raises(ValueError, match='1 episodes but 2 advantages'):
    trajectory.to_batch([good], [1, 2], length=4)
  with pytest.raises(ValueError, match='t/0 .* no trace of the user'):
    trajectory.to_batch([good], [1], length=4, side='user')
  with pytest.raises(ValueError, match='longer than a row of 1 tokens'):
    trajectory.to_batch([good], [1], length=1)


def test_a_sequence_for_each_turn_that_was_rewound_over():
  #             system  turn   said again  turn
  trace = types.Trace(
      np.array([1, 2, 3, 4, 5, 6, 7], np.int32),
      np.array([A.SYSTEM] * 2 + [A.TEMPLATE, A.SELF, A.TEMPLATE, A.TEMPLATE,
                                 A.SELF], np.int8),
      np.array([0, 0, 0, -1, 0, 0, -2], np.float32),
      np.array([-1, -1, 0, 0, 0, 2, 2], np.int16),
      np.array([0, 0, 1, 1, 0, 1, 1], bool))
  first, second = trace.sequences()
  assert first.ids_T.tolist() == [1, 2, 3, 4]
  assert second.ids_T.tolist() == [1, 2, 5, 6, 7]
  assert second.logp_T.tolist() == [0, 0, 0, 0, -2]
  assert first.rewound_T is None and first.sequences() == [first]
  played = types.Episode('t', 0, (), 'user_stop', types.Outcome.SUCCESS,
                         types.Score(1.0), 1, agent=trace)
  again = jsons.from_json(types.Episode, json.loads(jsons.dumps(played)))
  np.testing.assert_array_equal(again.agent.rewound_T, trace.rewound_T)
  batch = trajectory.to_batch([played], [2.0], length=9)
  np.testing.assert_array_equal(
      batch['segments_BT'], [[1, 1, 1, 1, 1, 2, 2, 2, 2]])
  np.testing.assert_array_equal(
      batch['adv_BT'], [[0, 0, 0, 0, 2, 0, 0, 0, 2]])


WIDE = dict(smear=2, num_kv_heads=2, rope_theta=100.0)


@pytest.mark.parametrize('fields, history', [
    ({}, 'keep'), pytest.param(WIDE, 'strip', marks=pytest.mark.slow),
    pytest.param({}, 'template', marks=pytest.mark.slow),
    pytest.param(WIDE, 'keep', marks=pytest.mark.slow),
    pytest.param(dict(scan_layers=True), 'keep', marks=pytest.mark.slow)],
    ids=['plain', 'strip', 'template', 'wide', 'scan'])
def test_sampler_and_trainer_agree(fields, history):
  """At f32 within 1e-4, for both sides, over several turns and chunks; one
  side is sampled at another temperature."""
  config, vocab = testing.tiny_model(**fields), testing.ByteVocab()
  sides, params, temperature = {}, {}, {'agent': 1.0, 'user': 1.3}
  for seed, side in enumerate(('agent', 'user')):
    params[side] = testing.chatty_params(config, stop=0.15, seed=seed)
    engine = engine_lib.Engine(
        config, slots=6, length=320, stop_id=vocab.end, max_new=48, width=4,
        chunks=(8, 64), temperature=temperature[side])
    engine.load(params[side])
    sides[side] = policy.ModelPolicy(engine, vocab, history_thinking=history)
  episodes = play.play(
      testing.EchoEnv(), [testing.echo_task()] * 8, **sides, seeds=range(8),
      limits=dialogue.Limits(max_steps=6))
  for side in sides:
    batch = trajectory.to_batch(episodes, [1.0] * 8, length=512, side=side)
    speaker = {'agent': 'assistant'}.get(side, side)
    for episode in episodes:
      turns = sum(m.role == speaker for m in episode.messages[1:])
      wanted = 1 if history == 'keep' else max(1, turns)
      assert len(getattr(episode, side).sequences()) == wanted
    logp_BT, *_ = logprobs.token_logps(
        config, params[side], *(batch[f'{name}_BT'] for name in (
            'ids', 'positions', 'segments', 'target')),
        temperature=temperature[side])
    assert batch['target_BT'].sum() > 50
    np.testing.assert_allclose(logp_BT, batch['logp_old_BT'], atol=1e-4)
