"""Advantages, filters and losses: worked numbers, laws, one contract each."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl import types
from agentrl.envs import outcomes
from agentrl.models import config as model_config
from agentrl.models import logprobs
from agentrl.models import transformer
from agentrl.rl import advantages
from agentrl.rl import collect
from agentrl.rl import filters
from agentrl.rl import losses

ADVANTAGES = [advantages.group_normalized, advantages.group_mean]
ALL = np.ones((1, 4), bool)


def test_group_normalized_worked_example():
  adv = advantages.group_normalized(np.array([[1.0, 0, 0, 0]]), ALL)
  # Mean 1/4, population std sqrt(3)/4.
  np.testing.assert_allclose(
      adv, [[3**0.5, -3**-0.5, -3**-0.5, -3**-0.5]], rtol=1e-4)


def test_group_mean_worked_example():
  adv = advantages.group_mean(np.array([[1.0, 0, 0, 0]]), ALL)
  np.testing.assert_allclose(adv, [[0.75, -0.25, -0.25, -0.25]])


@pytest.mark.parametrize('fn', ADVANTAGES)
def test_every_advantage_keeps_the_contract(fn):
  rng = np.random.default_rng(0)
  reward = rng.integers(0, 2, (20, 6)).astype(np.float32)
  valid = rng.random((20, 6)) < 0.8
  adv = fn(reward, valid)
  assert adv.shape == reward.shape and adv.dtype == np.float32
  np.testing.assert_allclose(adv.sum(1), 0, atol=1e-5)
  assert not adv[~valid].any()  # invalid episodes get no advantage
  moved = fn(np.where(valid, reward, 7.0), valid)
  np.testing.assert_array_equal(adv, moved)  # and move no other
  assert np.isfinite(fn(np.ones((2, 3)), np.zeros((2, 3), bool))).all()
  with pytest.raises(ValueError, match='one shape'):
    fn(reward, valid[:, :3])


def test_filter_names_each_kind_of_dead_group():
  reward = np.array([[1, 0, 0], [1, 1, 1], [0, 0, 0], [1, 0, 0], [.5, .5, .5]])
  valid = np.array([[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 0, 0], [1, 1, 1]],
                   bool)
  assert filters.mixed(reward, valid).tolist() == [
      '', 'all_pass', 'all_fail', 'too_few', 'all_fail']
  assert filters.keep_all(reward, valid).tolist() == ['', '', '', 'too_few', '']
  masked = np.array([[1, 1, 0]], bool)  # the only zero does not count
  assert filters.mixed(np.array([[1., 1, 0]]), masked).tolist() == ['all_pass']


def test_clipped_surrogate_worked_example():
  logp_BT = np.log([[0.5, 1.0], [0.5, 0.1]])  # ratios 1, 2 | 1, 0.2
  old_BT = np.log([[0.5, 0.5], [0.5, 0.5]])
  adv_BT = np.array([[1.0, 1.0], [-1.0, -1.0]])
  loss_BT, clipped_BT = losses.clipped_surrogate(
      logp_BT, old_BT, adv_BT, clip_low=0.2, clip_high=0.3)
  # Up: held at 1.3. Down with adv < 0: -min(-0.2, -0.8) = 0.8.
  np.testing.assert_allclose(loss_BT, [[-1, -1.3], [1, 0.8]], rtol=1e-6)
  assert clipped_BT.tolist() == [[False, True], [False, True]]


def test_on_policy_gradient_is_that_of_reinforce():
  logp = jnp.log(jnp.array([[0.2, 0.7]]))
  adv = jnp.array([[2.0, -1.0]])
  grad = jax.grad(lambda x: losses.clipped_surrogate(
      x, logp, adv, clip_low=0.2, clip_high=0.2)[0].sum())(logp)
  np.testing.assert_allclose(grad, -adv, rtol=1e-6)


def test_losses_refuse_shapes_that_disagree():
  with pytest.raises(ValueError, match='Axis T is 2 in logp_BT but 3'):
    losses.clipped_surrogate(np.zeros((1, 2)), np.zeros((1, 3)),
                             np.zeros((1, 2)), clip_low=0.2, clip_high=0.2)


def test_batch_loss_is_a_token_mean_over_targets_alone():
  model = model_config.ModelConfig(11, 1, 8, 2, 1, 4, 8, 16)
  params = transformer.init(model, jax.random.key(0))
  rng = np.random.default_rng(0)
  batch = {
      'ids_BT': rng.integers(1, 11, (2, 6)),
      'positions_BT': np.tile(np.arange(6), (2, 1)),
      'segments_BT': np.ones((2, 6), int),
      'target_BT': np.array([[0, 0, 1, 1, 0, 1], [0, 1, 0, 0, 0, 0]], bool),
      'adv_BT': rng.normal(size=(2, 6)), 'total': 4}
  logp, *_ = logprobs.token_logps(
      model, params, *(batch[k] for k in ('ids_BT', 'positions_BT',
                                          'segments_BT', 'target_BT')),
      temperature=0.5)
  junk = np.where(batch['target_BT'], logp, 1e9)  # off target it is unused
  kw = dict(model=model, loss=losses.clipped_surrogate, temperature=0.5,
            loss_kw=dict(clip_low=0.2, clip_high=0.2))
  loss, values = losses.batch_loss(params, {**batch, 'logp_old_BT': junk}, **kw)
  want = -batch['adv_BT'][batch['target_BT']].sum() / 4
  np.testing.assert_allclose(loss, want, rtol=1e-5)
  assert values['ratio_mean'] == pytest.approx(1)
  assert values['logp_gap_max'] == 0 and values['clip_share'] == 0


TASKS = [types.Task(str(i), 'd', '') for i in range(10)]


def player(reward_of):
  """Returns a player whose rewards are a function of (task, seed)."""
  def play(tasks, seeds):
    return [types.Episode(
        t.id, 0, (), 'user_stop', types.Outcome.SUCCESS if (
            r := reward_of(t, s)) else types.Outcome.FAILURE,
        types.Score(float(r)), steps=3) for t, s in zip(tasks, seeds)]
  return play


def run(play, **sizes):
  waves = collect.Waves(**dict(tasks=4, group=4, wave=3, max_waves=20) | sizes)
  return collect.collect(play, TASKS, jax.random.key(0), waves=waves,
                         why_dead=filters.mixed, rules=outcomes.RULES)


def test_collect_refills_until_the_batch_is_full():
  even = lambda task, seed: int(task.id) % 2 == 0 and seed % 2
  batch = run(player(even))
  assert batch.reward_PG.shape == (len(batch.groups), 4)
  assert 4 <= len(batch.groups) <= 4 + 2  # the last wave's surplus is kept
  for group, reward in zip(batch.groups, batch.reward_PG):
    assert len({e.task_id for e in group}) == 1  # one task each
    assert [e.reward for e in group] == reward.tolist()
    assert 0 < reward.mean() < 1
  assert len(batch.played) % 4 == 0 and batch.dead['all_fail'] > 0
  values = collect.metrics(batch, outcomes.RULES)
  assert values['dead_all_fail_share'] > 0
  assert values['reward_mean'] == pytest.approx(
      np.mean([e.reward for e in batch.played]))


def test_a_refill_plays_two_tasks_for_each_that_is_missing():
  waves = []
  def play(tasks, seeds):
    waves.append(len(tasks) // 4)
    turns = itertools.cycle((0, 1))
    return player(lambda task, seed: next(turns))(tasks, seeds)
  run(play, tasks=4, wave=3)
  assert waves == [3, 2]
  assert len(run(play).groups) == 5


def test_collect_gives_every_dialogue_its_own_seed():
  seen = []
  def reward(task, seed):
    seen.append(seed)
    return seed % 2
  first = run(player(reward))
  assert len(set(seen)) == len(seen)
  again = run(player(lambda task, seed: seed % 2))
  assert [e.task_id for e in again.played] == [e.task_id for e in first.played]


@pytest.mark.parametrize('reward, words', [
    (0, "'all_fail'.*too hard"), (1, "'all_pass'.*too easy")])
def test_collect_says_why_groups_die(reward, words):
  batch = run(player(lambda task, seed: reward), max_waves=2)
  assert re.search('Only 0 of 4 .*' + words, batch.shortage)
  assert batch.groups == [] and batch.reward_PG.shape == (0, 4)
  assert collect.metrics(batch, outcomes.RULES)['reward_mean'] == reward


def test_a_batch_that_was_not_filled_keeps_its_groups():
  one = lambda task, seed: task.id == '0' and seed % 2
  batch = run(player(one), max_waves=4, wave=10)
  assert 1 <= len(batch.groups) < 4 and 'Only' in batch.shortage
  assert run(player(lambda task, seed: seed % 2)).shortage == ''
