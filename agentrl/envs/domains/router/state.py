"""Builds the database of an internet provider: accounts, lines, devices, fees.

Each name combines two words. Each word occurs in both splits; a hash assigns
every combination to one of them, the same for all seeds.
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
VISIT_DAYS = range(30, 60)
LONGEST_PAUSE = 60  # day
LARGEST_CREDIT = 80
EARLIEST_MOVE = 34  # day
SPEED = {'basic': 30, 'plus': 60, 'max': 90}  # of each plan, slowest first
CHANNELS = (1, 6, 11)
FEES = {'double': 4, 'late': 3, 'visit': 2, 'install': 1}  # kind -> weight

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
  """Returns the combinations of a split, in random order."""
  joined = [joint.join(p) for p in itertools.product(
      first.split(), second.split())]
  mine = [j for j in joined
          if SPLITS[zlib.crc32(j.encode()) % len(SPLITS)] == split]
  return iter(rng.sample(mine, len(mine)))


def build(seed: int, split: str) -> state_lib.Tables:
  """Builds the tables of a split, a function of its arguments alone.

  Raises:
    ValueError: unknown split.
  """
  if split not in SPLITS:
    raise ValueError(f'Split must be one of {SPLITS}, got {split!r}.')
  rng = random.Random(f'router {seed} {split}')
  ids = _pairs(ADJECTIVES, NOUNS.title(), '', split, rng)
  names = _pairs(FIRST.title(), LAST.title(), ' ', split, rng)
  tables = dict(accounts={}, lines={}, devices={}, visits={}, fees={},
                desk={'call': {'transfer': ''}})
  for name in itertools.islice(names, CALLERS):
    account, router = next(ids), next(ids)
    tables['accounts'][account] = _account(name, router, rng)
    tables['lines'][account] = _line(rng)
    tables['devices'][router] = _device(account, rng)
    tables['visits'][account] = dict(
        day=rng.choice((0, 0, 0, TODAY + 1, *range(24, 28))),
        free=sorted(rng.sample(VISIT_DAYS, 3)))
    for amount in rng.sample(range(10, 90), rng.choice((1, 2, 2, 3))):
      tables['fees'][next(ids)] = dict(
          account=account, amount=amount, credited=0,
          kind=rng.choices(list(FEES), FEES.values())[0])
  return tables


def _either(rng: random.Random, **weights: float) -> str:
  """Draws a name by its probability, '' with the rest of the probability."""
  left = 1 - sum(weights.values())
  return rng.choices((*weights, ''), (*weights.values(), left))[0]


def _account(name: str, router: str, rng: random.Random) -> dict[str, Any]:
  prices = sorted(rng.sample(range(10, 95, 5), len(SPEED)))
  status = _either(rng, suspended=.09, paused=.07, blocked=.02) or 'active'
  owes = rng.random() < (1 if status == 'suspended' else 0.2)
  return dict(
      name=name, router=router, status=status, plan=rng.choice(list(SPEED)),
      prices=dict(zip(SPEED, prices)), due=owes * rng.randrange(10, 95),
      card=_either(rng, expired=.1) or 'valid', pays=rng.random() < 0.75,
      contract=rng.choice((0, *rng.sample(range(5, 20), 2),
                           rng.randrange(25, 90))),
      until=0, moves=0, credit=0, credits=int(rng.random() < 0.3))


def _line(rng: random.Random) -> dict[str, Any]:
  outage = rng.random() < 0.07
  return dict(signal=_either(rng, down=.15, weak=.25) or 'ok',
              area='outage' if outage else 'ok',
              back=outage * rng.randrange(21, 30), resets=0,
              limit=rng.choice((30, 60, *(90,) * 6)))


def _device(account: str, rng: random.Random) -> dict[str, Any]:
  cable = _either(rng, out=.14, torn=.05) or 'in'
  channel, other = rng.sample(CHANNELS, 2)
  return dict(
      account=account, power=_either(rng, off=.08) or 'on', cable=cable,
      stuck=rng.random() < 0.12, broken=rng.random() < 0.05,
      wifi=_either(rng, off=.1) or 'on', airplane=_either(rng, on=.1) or 'off',
      channel=channel, busy=sorted((channel, other)) * (rng.random() < 0.3),
      reboots=0, tested=-1)
