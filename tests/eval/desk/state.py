"""One lamp on one desk."""


def build(seed, split):
  del seed, split
  return {'desk': {'lamp': {'level': 1, 'plugged': False, 'reason': ''}}}
