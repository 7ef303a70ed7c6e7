"""Costs of a program, by hand."""

from agentrl.capacity import hlo

TEXT = '''
HloModule example

%body (p: (s32[], bf16[8,16])) -> (s32[], bf16[8,16]) {
  %p = (s32[], bf16[8,16]{1,0}) parameter(0)
  %x = bf16[8,16]{1,0:T(8,128)} get-tuple-element(%p), index=1
  %w = bf16[16,16]{1,0} constant({...})
  %all-gather.1 = bf16[32,16]{1,0} all-gather(%x), replica_groups=[2,4]<=[8], dimensions={0}, metadata={op_name="jit(f)/gathered"}
  %convolution.1 = bf16[8,16]{1,0} convolution(%x, %w), dim_labels=bf_io->bf, backend_config={"estimated_cycles":"50"}
  ROOT %t = (s32[], bf16[8,16]{1,0}) tuple(%x, %convolution.1)
}

%condition (p.1: (s32[], bf16[8,16])) -> pred[] {
  %p.1 = (s32[], bf16[8,16]{1,0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p.1), index=0
  %n = s32[]{:T(128)} constant(5)
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

%unknown (p.2: (s32[], bf16[8,16])) -> pred[] {
  %p.2 = (s32[], bf16[8,16]{1,0}) parameter(0)
  %i.2 = s32[] get-tuple-element(%p.2), index=0
  ROOT %less.2 = pred[] compare(%i.2, %i.2), direction=LT
}

ENTRY %main (a: (s32[], bf16[8,16]), h: f32[4,2,3], k: f32[4,3,5]) -> f32[] {
  %a = (s32[], bf16[8,16]{1,0}) parameter(0)
  %h = f32[4,2,3]{2,1,0} parameter(1)
  %k = f32[4,3,5]{2,1,0} parameter(2)
  %loop = (s32[], bf16[8,16]{1,0}) while(%a), condition=%condition, body=%body
  %loop.2 = (s32[], bf16[8,16]{1,0}) while(%loop), condition=%unknown, body=%body
  %all-reduce.3 = f32[4,2,3]{2,1,0} all-reduce(%h), replica_groups=mesh['x'=2,'y'=4] {'y'}, to_apply=%sum
  %batched = f32[4,2,5]{2,1,0} convolution(%h, %k), window={size=4 stride=3 pad=0_0 lhs_dilate=4}, dim_labels=0bf_0io->0bf
  ROOT %r = f32[] constant(0)
}
'''  # noqa: E501


def test_loops_count_as_often_as_they_run():
  found = hlo.costs(TEXT, unknown=7)
  one, batched = 2 * 8 * 16 * 16, 2 * 4 * 2 * 3 * 5
  assert found.flops == (5 + 7) * one + batched
  assert found.cycles == (5 + 7) * 50
  # Each device sends its 8 x 16 x 2 bytes to the 3 others of its group.
  assert found.collectives['all-gather'] == [12, 12 * 3 * 256]
  assert found.collectives['all-reduce'] == [1, 2 * 96 * 3 / 4]
  assert found.sources['jit(f)/gathered'] == 12 * 3 * 256
