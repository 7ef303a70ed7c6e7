"""What is no chip and no shape is refused, with or without libtpu."""

import pytest

from agentrl.capacity import chips
from agentrl.capacity import measure


@pytest.mark.parametrize('topology', [
    'v5p:x8', 'v5p:8x', 'v5p:8xx8', 'v5p', 'v5p:', 'v9:2x2'])
def test_topologies_that_are_none(topology):
  with pytest.raises(ValueError, match=f"as v5p:8x8x16, got '{topology}'"):
    chips.devices(topology)


@pytest.mark.parametrize('words, used', [
    ('Used 1.5G of 0.5G hbm. Exceeded hbm capacity by 1G.', 1.5 * 2**30),
    ('the total memory required for HLO temporaries (512.25M) exceeds '
     'available HBM (95.74G).', 512.25 * 2**20)])
def test_the_compiler_says_what_a_program_too_large_uses(words, used):
  assert measure._too_large(RuntimeError(f'Ran out of memory: {words}')) == used
  with pytest.raises(RuntimeError, match='other'):
    measure._too_large(RuntimeError('other'))
