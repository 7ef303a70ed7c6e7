"""Lamps and their owners; the splits share no entity."""

WORDS = {'train': ('red', 'old', 'big'), 'test': ('new', 'wet', 'icy')}


def build(seed, split):
  del seed
  people = {f'{n.title()} {split.title()}': {} for n in ('ann', 'bob', 'cid')}
  lamps = {
      f'{word}-{kind}': {
          'owner': list(people)[i], 'level': 1 + k, 'plugged': k > 0,
          'broken': k == 2}
      for i, word in enumerate(WORDS[split])
      for k, kind in enumerate(('lamp', 'torch', 'candle'))}
  return {'people': people, 'lamps': lamps, 'desk': {'call': {'reason': ''}}}
