"""Declared fields: values that a stage gets, and errors."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Annotated, Any, Literal

import ml_collections
from ml_collections import config_dict
import pytest

from agentrl.stage import fields


def paint(canvas, *, color: str, layers: int = 1, **own: Any):
  del canvas, color, layers, own


@dataclasses.dataclass(frozen=True)
class Size:
  width: int
  depth: float | None = None


@dataclasses.dataclass(frozen=True)
class Shelf:
  size: Size
  places: Annotated[Mapping[str, Any], fields.SomeOf(Size)]
  paint: Annotated[Mapping[str, Any], fields.ArgumentsOf(paint, positional=1)]
  books: tuple[str, ...]
  prices: Sequence[Sequence[Any]]
  pair: tuple[int, str]
  side: Literal['left', 'right']
  limit: int | None
  open: bool
  extra: Mapping[str, Mapping[str, Any]]
  height: float = 2.0


def config(**changes):
  c = ml_collections.ConfigDict(dict(
      size=dict(width=1, depth=None), places=dict(width=2),
      paint=dict(color='red', gloss=0.5), books=('a', 'b'),
      prices=(('x', 1.0),), pair=(1, 'one'), side='left',
      limit=config_dict.placeholder(int), open=True,
      extra=dict(one=dict(a=(1, 2))), height=3))
  with c.unlocked(), c.ignore_type():
    for path, value in changes.items():
      *parts, last = path.split('__')
      section = c
      for part in parts:
        section = section[part]
      section[last] = value
  return c


def test_a_stage_gets_plain_typed_values():
  shelf = fields.read(Shelf, config())
  assert shelf == Shelf(
      Size(1, None), {'width': 2}, {'color': 'red', 'gloss': 0.5}, ('a', 'b'),
      (('x', 1.0),), (1, 'one'), 'left', None, True, {'one': {'a': (1, 2)}}, 3)
  assert type(shelf.extra['one']) is dict
  # As it comes back from config.json.
  assert fields.read(Shelf, fields.plain(shelf)) == shelf
  assert fields.read(Shelf, config(limit=4)).limit == 4


@pytest.mark.parametrize('change, words', [
    (dict(heigt=1), "config.heigt would have no effect: this stage has no such "
     "field. Did you mean 'height'"),
    (dict(size__widht=1), "config.size.widht would .* Did you mean 'width'"),
    (dict(size=dict(width=1)), 'config.size.depth is missing'),
    (dict(size=3), 'config.size must be a section'),
    (dict(size__width=1.5), 'config.size.width must be an integer, got 1.5'),
    (dict(size__depth='x'), "config.size.depth must be a number, got 'x'"),
    (dict(places__widht=1), "config.places.widht .* Did you mean 'width'"),
    (dict(places__width='x'), 'config.places.width must be an integer'),
    (dict(paint__layers='x'), 'config.paint.layers must be an integer'),
    (dict(paint__canvas='x'), 'config.paint.canvas would have no effect'),
    (dict(paint={}), 'config.paint.color is missing'),
    (dict(books=('a', 1)), r'config.books\[1\] must be a string, got 1'),
    (dict(books='ab'), "config.books must be a tuple, got 'ab'"),
    (dict(prices=(1,)), r'config.prices\[0\] must be a tuple'),
    (dict(pair=(1,)), 'config.pair must have 2 entries'),
    (dict(side='top'), "config.side must be one of 'left', 'right', got 'top'"),
    (dict(limit='x'), 'config.limit must be an integer'),
    (dict(limit=True), 'config.limit must be an integer, got True'),
    (dict(open=1), 'config.open must be True or False, got 1'),
    (dict(extra=dict(one=1)), 'config.extra.one must be a section')])
def test_wrong_fields_are_named(change, words):
  with pytest.raises(ValueError, match=words):
    fields.read(Shelf, config(**change))


def test_a_default_of_the_dataclass_is_no_second_default():
  c = config()
  del c.height
  with pytest.raises(ValueError, match='config.height is missing'):
    fields.read(Shelf, c)


def test_an_undeclared_field_cannot_be_read():
  with pytest.raises(AttributeError):
    _ = fields.read(Shelf, config()).depth
