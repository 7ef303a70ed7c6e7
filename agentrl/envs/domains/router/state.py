"""The database of an internet provider: accounts, lines, devices, fees.

Whatever has a name is a combination of two words. Each word occurs in both
splits; which combinations do is settled by a hash, once for all seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
import itertools
import random
from typing import Any
import zlib

from agentrl.envs import state as state_lib

SPLITS = ('train', 'test')
CALLERS = 240
TODAY = 20
SPEED = {'basic': 30, 'plus': 60, 'max': 90}  # of each plan, slowest first
CHANNELS = (1, 6, 11)

FIRST = '''ada amir anya boris carla cyrus dana diego elif emil fatima felix
gita hana hugo ines ivan jade jonas kenji laila leon lucia marek mira nadia
nora omar oscar petra quinn rahul rosa sami selma tariq tessa viktor wanda
yusuf'''
LAST = '''abbott adler baker barros becker castro chen cohen dahl duarte ellis
farah fischer garcia grant haddad hansen ito jensen kaya keller lopez meyer
mori nagy novak okafor olsen patel perez quist rossi sato silva tobin vance
weber wolf young zhang'''
ADJECTIVES = '''amber bold brave brisk calm clever cosmic crisp dusty early
eager faint fancy fresh gentle giant golden grand happy hidden humble icy jolly
keen lively lucky mellow merry mighty noble olive pale plain proud quiet rapid
rusty shiny silent silver smooth snowy solar steady stormy sunny swift tiny
vivid warm wild windy witty young'''
NOUNS = '''anchor apple badger beacon bridge candle canyon castle cedar cherry
cliff clover comet coral cradle desert dragon eagle ember falcon feather forest
garden glacier harbor hawk island jaguar kettle lagoon lantern lemon lion maple
meadow mirror mountain ocean orchid otter panda parrot pebble pepper piano
planet prairie rabbit ribbon river rocket saddle salmon sparrow spruce stone
summit thunder tiger tulip turtle valley violin walnut willow winter'''


def _pairs(first: str, second: str, joint: str, split: str,
           rng: random.Random) -> Iterator[str]:
  """The split's share of all combinations, in random order."""
  joined = [joint.join(p) for p in itertools.product(
      first.split(), second.split())]
  mine = [j for j in joined
          if SPLITS[zlib.crc32(j.encode()) % len(SPLITS)] == split]
  return iter(rng.sample(mine, len(mine)))


def build(seed: int, split: str) -> state_lib.Tables:
  """The tables of a split, a function of its arguments alone.

  Raises:
    ValueError: unknown split.
  """
  if split not in SPLITS:
    raise ValueError(f'Split must be one of {SPLITS}, got {split!r}.')
  rng = random.Random(f'router {seed} {split}')
  ids = _pairs(ADJECTIVES, NOUNS, '-', split, rng)
  names = _pairs(FIRST.title(), LAST.title(), ' ', split, rng)
  tables = dict(accounts={}, lines={}, devices={}, visits={}, fees={},
                desk={'call': {'transfer': ''}})
  for name in itertools.islice(names, CALLERS):
    account, router = next(ids), next(ids)
    tables['accounts'][account] = _account(name, router, rng)
    tables['lines'][account] = dict(
        signal='ok', area='ok', back=0, resets=0,
        limit=rng.choice((30, 60, 90, 90)))
    tables['devices'][router] = _device(account, rng)
    tables['visits'][account] = dict(
        day=rng.choice((0, 0, 21, *range(23, 30))),
        free=sorted(rng.sample(range(30, 60), 3)))
    for kind in rng.sample(('late', 'install', 'double', 'visit'),
                           rng.choice((1, 2, 2, 3))):
      tables['fees'][next(ids)] = dict(
          account=account, kind=kind, amount=rng.randrange(5, 90),
          credited=0)
    _break(account, router, tables, rng)
  return tables


def _account(name: str, router: str, rng: random.Random) -> dict[str, Any]:
  prices = sorted(rng.sample(range(10, 95, 5), len(SPEED)))
  return dict(
      name=name, router=router, status='active', plan=rng.choice(list(SPEED)),
      prices=dict(zip(SPEED, prices)), due=rng.choice((0, 0, 0, 1))
      * rng.randrange(10, 95), card=rng.choice(('valid',) * 4 + ('expired',)),
      contract=rng.choice((0, rng.randrange(5, 20), rng.randrange(25, 90))),
      until=0, credit=0, credits=rng.choice((0, 0, 1)))


def _device(account: str, rng: random.Random) -> dict[str, Any]:
  return dict(account=account, power='on', cable='in', stuck=False,
              broken=False, wifi='on', airplane='off', reboots=0, tested=-1,
              channel=rng.choice(CHANNELS), busy=[])


def _break(account: str, router: str, tables: dict[str, Any],
           rng: random.Random) -> None:
  """Puts up to one fault on the provider's side and one on the caller's."""
  home, line = tables['accounts'][account], tables['lines'][account]
  device = tables['devices'][router]
  match rng.choice(('', '', '', '', '', 'suspended', 'paused', 'blocked', 'down',
                    'down', 'weak', 'weak', 'weak', 'outage')):
    case 'suspended':
      home.update(status='suspended', due=rng.randrange(10, 95))
    case 'paused':
      home.update(status='paused', until=rng.randrange(30, 60))
    case 'blocked':
      home.update(status='blocked')
    case 'outage':
      line.update(area='outage', back=rng.randrange(21, 30))
    case 'down' | 'weak' as signal:
      line.update(signal=signal)
  match rng.choice(('', '', '', 'power', 'out', 'torn', 'stuck', 'broken',
                    'wifi', 'airplane', 'busy', 'busy', 'busy', 'busy')):
    case 'power':
      device.update(power='off')
    case 'out' | 'torn' as cable:
      device.update(cable=cable)
    case 'wifi':
      device.update(wifi='off')
    case 'airplane':
      device.update(airplane='on')
    case 'stuck' | 'broken' as what:
      device[what] = True
    case 'busy':
      others = [c for c in CHANNELS if c != device['channel']]
      device.update(busy=sorted([device['channel'], rng.choice(others)]))
