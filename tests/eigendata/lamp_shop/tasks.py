"""Dim a lamp, plug one in, sell one."""

from agentrl.envs import domain

ENTITY = r'\b[a-z]+-[a-z]+\b'


def callers(state):
  return [name for name, _ in state.rows('people')]


def opening(state, caller):
  del state
  return f'You are {caller}.', (
      domain.says('assistant', 'Your name?', 'Who are you?'),
      domain.says('user', f'{caller}.', f'I am {caller}.'),
      domain.calls('assistant', 'find_person', name=caller))


def dim(state, caller, rng):
  key = rng.choice([k for k, lamp in state.rows('lamps')
                    if lamp['owner'] == caller])
  lamp = state.get('lamps', key)
  level = rng.choice([n for n in range(2, 9) if n != lamp['level']])
  beats = [domain.says('user', f'Set {key} to {level}.', f'{key} to {level}?'),
           domain.calls('assistant', 'show_lamp', lamp=key)]
  goal, about = f'Set {key} to {level}.', (key, str(level))
  if lamp['broken']:
    beats.append(domain.says('assistant', f'{key} is broken, I cannot.',
                             f'Sorry, {key} is broken.'))
    return domain.Demand('dim', goal, tuple(beats), about, ('broken',),
                         'refuse')
  beats += [domain.says('assistant', f'Set {key} to {level}, okay?',
                        f'Shall I set {key} to {level}?'),
            domain.says('user', 'Yes.', 'Yes, do.'),
            domain.calls('assistant', 'set_level', lamp=key, level=level),
            domain.says('assistant', f'Done, {key} has level {level}.',
                        f'Now {key} is at level {level}.')]
  return domain.Demand('dim', goal, tuple(beats), about, (f'level {level}',))


def dark(state, caller, rng):
  keys = [k for k, lamp in state.rows('lamps')
          if lamp['owner'] == caller and not lamp['plugged']]
  if not keys:
    return None
  key = rng.choice(keys)
  return domain.Demand('dark', f'Your {key} is dark.', (
      domain.says('user', f'My {key} is dark.', f'{key} stays dark.'),
      domain.says('assistant', 'Is it plugged in?', 'Please plug it in.'),
      domain.calls('user', 'plug', lamp=key),
      domain.says('user', f'{key} plugged.', f'I see {key} plugged.'),
      domain.says('assistant', f'Then {key} shines.', f'{key} shines now.')),
                       (key,), ('shines',))


def sell(state, caller, rng):
  del state, caller, rng
  return domain.Demand('sell', 'You want to sell a lamp.', (
      domain.says('user', 'I sell a lamp.', 'Who buys my lamp?'),
      domain.calls('assistant', 'transfer_to_human', reason='sale'),
      domain.says('assistant', 'A human takes over.')), (), (), 'transfer')


FAMILIES = (dim, dark, sell)
