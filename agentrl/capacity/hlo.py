"""Reads the costs of a compiled program off its HLO text.

The compiler's own cost analysis counts the body of a loop once, however often
it runs. Here each instruction counts as often as its loops run: their bounds
stand in their conditions.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping
import dataclasses
import math
import re
import types

_BYTES = {'pred': 1, 's8': 1, 'u8': 1, 'bf16': 2, 'f16': 2, 's16': 2, 'u16': 2,
          'f32': 4, 's32': 4, 'u32': 4, 's64': 8, 'u64': 8, 'f64': 8}
_LINE = re.compile(r'\s*(?:ROOT )?%(\S+) = (\(.*?\)|\S+) ([\w-]+)\((.*)$')
_SHAPE = re.compile(r'\b([a-z]\w*)\[([\d,]*)\]')
_CALLED = re.compile(r'\b(?:calls|body|to_apply|true_computation|'
                     r'false_computation|branch_computations)='
                     r'(\{[^}]*\}|%[\w.-]+)')
_KINDS = ('all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all',
          'collective-permute')


@dataclasses.dataclass
class Instruction:
  """One line: `name = shape op(operands), attributes`; `rest` starts at the
  operands."""

  name: str
  shape: str
  op: str
  rest: str

  @property
  def operands(self) -> list[str]:
    return re.findall(r'%([\w.-]+)', self.rest.partition(')')[0])


@dataclasses.dataclass
class Costs:
  """Costs of one run on one device.

  Attributes:
    flops: FLOPs of matrix products.
    kernel_flops: FLOPs of Pallas kernels, which are not HLO inside.
    cycles: the compiler's estimate for everything but kernels and collectives;
      it has none for gathers and sorts, so the program may take longer.
    collectives: kind to [count, bytes that a device sends].
    sources: bytes that a device sends, by the operation's name in the source.
  """

  flops: float = 0.0
  kernel_flops: float = 0.0
  cycles: float = 0.0
  collectives: dict[str, list[float]] = dataclasses.field(default_factory=dict)
  sources: collections.Counter = dataclasses.field(
      default_factory=collections.Counter)


def costs(text: str, *, unknown: float = 1,
          branches: Mapping[str, float] = types.MappingProxyType({})) -> Costs:
  """Adds up the costs of a program.

  Args:
    text: HLO text of the compiled program.
    unknown: number of runs of a loop with a bound known at run time only.
    branches: part of a conditional operation's name to the share of the times
      that it is not skipped.
  """
  parts, entry = _parse(text)
  total = Costs()
  for name, times in _times(parts, entry, unknown, branches).items():
    shapes = {x.name: x.shape for x in parts[name]}
    for x in parts[name]:
      _count(total, x, shapes, times)
  return total


def size(shape: str) -> int:
  """Counts the bytes of a shape in HLO's words, or of a tuple of shapes."""
  return sum(_BYTES.get(kind, 4) * math.prod(_dims(dims))
             for kind, dims in _SHAPE.findall(shape))


def _dims(text: str) -> list[int]:
  return [int(x) for x in text.split(',') if x]


def _parse(text: str) -> tuple[dict[str, list[Instruction]], str]:
  """Returns the instructions of each computation, and the entry's name."""
  parts, name, entry = {}, '', ''
  for line in text.splitlines():
    if head := re.match(r'(ENTRY )?%(\S+) \(.*\{$', line):
      name = head[2]
      entry = name if head[1] else entry
      parts[name] = []
    elif name and (match := _LINE.match(line)):
      parts[name].append(Instruction(*match.groups()))
  return parts, entry


def _times(parts: Mapping[str, list[Instruction]], entry: str,
           unknown: float, branches: Mapping[str, float]) -> dict[str, float]:
  """Counts the runs of each computation."""
  times = collections.Counter()

  def visit(name: str, count: float) -> None:
    times[name] += count
    for x in parts[name]:
      often = count * (_trips(parts, x, unknown) if x.op == 'while' else 1)
      if x.op == 'conditional':
        often *= next((share for part, share in branches.items()
                       if part in _source(x)), 1)
      for called in _called(x):
        visit(called, often)
  visit(entry, 1)
  return times


def _called(x: Instruction) -> Iterator[str]:
  """Yields the computations that an instruction runs. A reduction's scalar
  function is part of it, and not counted."""
  if x.op in ('fusion', 'while', 'conditional', 'call', 'async-start'):
    for group in _CALLED.findall(x.rest):
      yield from re.findall(r'%([\w.-]+)', group)


def _trips(parts: Mapping[str, list[Instruction]], loop: Instruction,
           unknown: float) -> float:
  """Counts the turns of a loop: the constant that its condition compares to."""
  condition = parts[re.search(r'condition=%([\w.-]+)', loop.rest)[1]]
  compare = [x for x in condition if x.op == 'compare']
  constants = {x.name: int(x.rest.partition(')')[0]) for x in condition
               if x.op == 'constant' and re.match(r'\d+\)', x.rest)}
  bounds = [constants[o] for x in compare for o in x.operands
            if o in constants]
  return bounds[0] if len(bounds) == 1 else unknown


def _count(total: Costs, x: Instruction, shapes: Mapping[str, str],
           times: float) -> None:
  """Adds `times` runs of an instruction to the total."""
  cycles = re.search(r'"estimated_cycles":"(\d+)"', x.rest)
  kind = x.op.removesuffix('-start')
  if kind in _KINDS:
    group = _group(x.rest)
    sent = _sent(kind, x, shapes, group)
    entry = total.collectives.setdefault(kind, [0, 0])
    entry[0] += times
    entry[1] += times * sent
    total.sources[_source(x)] += times * sent
  elif cycles:
    total.cycles += times * int(cycles[1])
  if x.op in ('convolution', 'dot'):
    total.flops += times * _product(x, shapes)
  if x.op == 'custom-call':
    total.kernel_flops += times * _kernel(x)


def _source(x: Instruction) -> str:
  """Returns the operation's name in the traced program."""
  match = re.search(r'op_name="([^"]*)"', x.rest)
  return match[1] if match else ''


def _group(rest: str) -> int:
  """Counts the devices that take part in a collective."""
  if match := re.search(r'replica_groups=\[\d+,(\d+)\]', rest):
    return int(match[1])
  if match := re.search(r'replica_groups=\{\{([\d,]+)\}', rest):
    return len(_dims(match[1]))
  if match := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", rest):
    sizes = dict(re.findall(r"'(\w+)'=(\d+)", match[1]))
    return math.prod(int(sizes[a]) for a in re.findall(r"'(\w+)'", match[2]))
  return 2  # a permutation sends all of it


def _sent(kind: str, x: Instruction, shapes: Mapping[str, str],
          group: int) -> float:
  """Counts the bytes that a device sends around a ring."""
  taken = sum(size(shapes.get(o, '')) for o in x.operands)
  share = (group - 1) / group
  return {'all-gather': taken * (group - 1), 'all-reduce': 2 * taken * share,
          'reduce-scatter': taken * share, 'all-to-all': taken * share,
          'collective-permute': taken}[kind]


def _product(x: Instruction, shapes: Mapping[str, str]) -> float:
  """Counts the FLOPs of a product. On TPU each is a convolution, and a batched
  one has the batch as places of which few meet."""
  left, right = (_dims(_SHAPE.search(shapes[o])[2]) for o in x.operands[:2])
  out = _dims(_SHAPE.search(x.shape)[2])
  if x.op == 'dot':
    over = _dims(re.search(r'lhs_contracting_dims=\{([\d,]*)\}', x.rest)[1])
    return 2 * math.prod(out) * math.prod(left[i] for i in over)
  labels = re.search(r'dim_labels=(\w+)_(\w+)->(\w+)', x.rest)
  a, b, c = labels.groups()
  pairs = 1
  for i in sorted(d for d in c if d.isdigit()):
    pairs *= _meetings(x.rest, int(i), left[a.index(i)], right[b.index(i)],
                       out[c.index(i)])
  return (2 * pairs * out[c.index('b')] * out[c.index('f')]
          * right[b.index('i')])


def _meetings(rest: str, axis: int, places: int, taps: int, outs: int) -> int:
  """Counts the pairs of an output place and a kernel tap that fall onto a place
  of the input, along one axis."""
  window = re.search(r'window=\{([^}]*)\}', rest)
  fields = dict(re.findall(r'(\w+)=(\S+)', window[1])) if window else {}
  of = lambda name, default: fields.get(
      name, 'x'.join([default] * (axis + 1))).split('x')[axis]
  stride, low = int(of('stride', '1')), int(of('pad', '0_0').split('_')[0])
  spread, apart = int(of('lhs_dilate', '1')), int(of('rhs_dilate', '1'))
  last = (places - 1) * spread
  return sum(0 <= at <= last and at % spread == 0
             for o in range(outs) for w in range(taps)
             for at in [o * stride + w * apart - low])


def _kernel(x: Instruction) -> float:
  """Counts the FLOPs of a Pallas kernel, by its name and operand shapes."""
  taken = [_dims(dims) for _, dims in _SHAPE.findall(
      x.rest.partition('operand_layout_constraints=')[2])]
  if x.name.startswith('ragged-dot-none') or 'tgmm' in x.name:
    (rows, width), *_, last = (dims for dims in taken if len(dims) > 1)
    return 2 * rows * width * last[-1]
  # Splash attention: blocks under the diagonal alone. Two products forward;
  # three and four backward, with those computed again.
  for part, products in (('fwd', 2), ('dq', 3), ('dkv', 4)):
    if f'splash_mha_{part}_' in x.name:
      heads, length, head_dim = max(
          (dims for dims in taken if len(dims) == 3), key=math.prod)
      return products * 2 * heads * length**2 / 2 * head_dim
  return 0.0
