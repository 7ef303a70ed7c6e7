"""Builds the shop's database: customers, orders, payments, products."""

from __future__ import annotations

import random
from typing import Any
import zlib

FIRST = tuple(
    'Ada Ben Cleo Dina Eli Fay Gus Hana Ivan Jade Kai Lena Milo Nora Otto Pia '
    'Quin Rosa Sam Tara Uma Vera Will Xena Yuri Zoe Amir Bea Carl Dora Emil '
    'Finn Gina Hugo Ines Jon Kira Leo Mira Nils'.split())
LAST = tuple(
    'Adler Berg Cohen Diaz Eriksen Fabre Garcia Haas Ito Jansen Kovacs Lopez '
    'Meyer Novak Olsen Petrov Quist Rossi Silva Tobin Ueda Vogel Weber Xu '
    'Young Zeman Abbot Brandt Costa Dubois Evans Fischer Gomez Horvat Ivanov '
    'Jensen Klein Lindt Moreau Nagy'.split())
SHADES = tuple(
    'teal grey pale dark warm cold soft bold calm keen mild proud quick quiet '
    'rapid royal rusty sharp shiny silent sleek slow small snowy solar spicy '
    'stony sunny sweet swift tall tidy tiny vivid wide wild windy wise young '
    'brave'.split())
BEASTS = tuple(
    'heron otter badger beaver bison camel cobra crane dingo eagle falcon '
    'ferret finch gecko goose hare hawk ibex jackal koala lemur lion lizard '
    'llama lynx moose mouse newt okapi owl panda parrot pigeon puma quail '
    'rabbit raven robin salmon seal shark sloth snail stork swan tiger toad '
    'trout turtle zebra'.split())
COLORS = ('pink', 'blue', 'green', 'black', 'white', 'yellow')
CITIES = ('Lyon', 'Oslo', 'Porto', 'Turin', 'Graz', 'Ghent', 'Malmo', 'Brno',
          'Basel', 'Cork')
PRICES = {'lamp': 40, 'chair': 65, 'mug': 15, 'clock': 35, 'bag': 50,
          'scarf': 20, 'radio': 80, 'kettle': 45, 'rug': 95, 'tent': 90}

TODAY = 40
# Days since an order was made, shipped or delivered. They lie close to the
# limits in the rules.
AGES = (1, 4, 7, 8, 10, 12, 13, 14, 15, 30, 31)
SIZES = {'train': (300, 900), 'test': (120, 360)}  # customers, orders


def _share(words: list[str], split: str) -> list[str]:
  """Returns the names of a split: a fifth of all are for tests."""
  return [w for w in words
          if (zlib.crc32(w.encode()) % 5 == 0) == (split == 'test')]


def build(seed: int, split: str) -> dict[str, dict[str, dict[str, Any]]]:
  """Builds the tables of a seed and split.

  Splits share words, so that a tokenizer knows them all, but no name of a
  customer and no id of an order.

  Raises:
    ValueError: unknown split.
  """
  if split not in SIZES:
    raise ValueError(f'orders has the splits {", ".join(SIZES)}, got '
                     f'{split!r}.')
  rng = random.Random(f'orders/{seed}/{split}')
  people, count = SIZES[split]
  names = _share([f'{a} {b}' for a in FIRST for b in LAST], split)
  ids = _share([f'{a}{b.title()}' for a in SHADES for b in BEASTS], split)
  customers = {name: _customer(rng) for name in rng.sample(names, people)}
  owners = list(customers)
  orders = {key: _order(rng, owners[i % people])
            for i, key in enumerate(rng.sample(ids, count))}
  for key, order in orders.items():
    customers[order['customer']]['orders'].append(key)
  payments = {key: _payment(rng, order) for key, order in orders.items()}
  products = {item: {'price': price, 'stock': sorted(
      rng.sample(COLORS, rng.choice((2, 3, 4))))}
              for item, price in PRICES.items()}
  return {'customers': customers, 'orders': orders, 'payments': payments,
          'products': products, 'desk': {}}


def _customer(rng: random.Random) -> dict[str, Any]:
  return {'tier': rng.choice(('basic', 'basic', 'gold')),
          'credit': rng.randrange(0, 100, 5), 'orders': []}


def _order(rng: random.Random, owner: str) -> dict[str, Any]:
  return {
      'customer': owner, 'item': rng.choice(list(PRICES)),
      'color': rng.choice(COLORS), 'city': rng.choice(CITIES),
      'status': rng.choices(('pending', 'shipped', 'delivered'), (2, 1, 2))[0],
      'day': TODAY - rng.choice(AGES)}


def _payment(rng: random.Random, order: dict[str, Any]) -> dict[str, Any]:
  return {'amount': PRICES[order['item']],
          'method': rng.choice(('card', 'credit')),
          'charges': rng.choice((1, 2)), 'flagged': rng.random() < 0.08}
