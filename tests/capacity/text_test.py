"""A plan says what would make it fit, what saves most first."""

from agentrl.capacity import measure
from agentrl.capacity import text

CONFIG = dict(
    model=dict(num_layers=10, remat='none'), micro_rows=4,
    sampler=dict(slots=8),
    mesh=dict(data=1, fsdp=2, tensor=1, expert=1))


def needs(temporary, **held):
  return measure.Needs('update', held, 0, 0, 2, temporary, *[0.0] * 3, {}, {},
                       *[0.0] * 3)


def advice(update, fit, **change):
  return list(text.advice([update], fit, CONFIG | change))


def test_what_saves_most_comes_first_and_more_chips_last():
  update = needs(40e9, parameters=10e9, optimiser=20e9)
  fit = measure.Fit(50e9, {'update': 70e9})
  found = advice(update, fit)  # 36, 20 and 15 GB
  assert [x.split('=')[0] for x in found[:3]] == [
      'model.remat', 'micro_rows', 'mesh.fsdp']
  assert found[3].startswith('a topology with more chips')
  model = dict(num_layers=10, remat='full')
  assert advice(needs(20e9, parameters=10e9, optimiser=20e9), fit,
                model=model)[0].startswith('mesh.fsdp=2 holds 30.0 GB')


def test_engines_that_are_too_large_get_fewer_slots():
  fit = measure.Fit(50e9, {'update': 40e9, 'rollout': 58e9}, 2e9, 4, 1)
  first, *rest = advice(needs(30e9, parameters=2e9, optimiser=4e9), fit)
  assert first == ('sampler.slots=8: each one less saves 2.00 GB, 8.0 GB are '
                   'over; 4 fit')
  assert not any('micro_rows' in x or 'remat' in x for x in rest)
