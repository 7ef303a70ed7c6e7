"""Text that looks like a secret is flagged, unless the database contains it."""

import pytest

from agentrl import testing
from agentrl import types
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.check import personal
from agentrl.eigendata.tau2 import domain as tau2_domain


@pytest.mark.parametrize('number, valid', [
    ('4111 1111 1111 1111', True), ('4111111111111112', False),
    ('378282246310005', True), ('0', True)])
def test_luhn(number, valid):
  assert personal.luhn(number) is valid


@pytest.mark.parametrize('text, kind', [
    ('-----BEGIN RSA PRIVATE KEY-----', 'private key'),
    ('use sk-proj-' + 'a1B2' * 8, 'key or token'),
    ('AKIA' + 'ABCD1234' * 2, 'key or token'),
    ('my api key is 8h2k3l4m5n', 'password'),
    ('Password: hunter2hunter2', 'password'),
    ('write to ann.bee@example.org!', 'e-mail'),
    ('card 4111-1111-1111-1111.', 'card'), ('3782 822463 10005', 'card'),
    ('call 555-123-2002', 'phone'), ('(555) 123-2002', 'phone'),
    ('+49 555 123 2002', 'phone'), ('+491701234567', 'phone'),
    ('card 4111-1111-1111-1112', ''), ('order #W2378156', ''),
    ('item 4111111111111111x', ''), ('on 2024-05-15 15:00:00', ''),
    ('the password is wrong', ''), ('ending in 7447', ''),
    ('items 4127323219 7751905257 1.500 20', '')])
def test_what_looks_like_a_secret(text, kind):
  assert [k for k, _ in personal.matches([text])] == [kind] * bool(kind)


def test_what_the_database_holds_is_fiction():
  pytest.importorskip('tau2.domains.telecom', reason='needs the benchmark')
  env = tau2_domain.load('tau2:telecom', {'prompt': 'brief'})
  item = env.tasks('train')[0]
  def sample(text):
    return sample_lib.Sample(item, (types.Message('user', text),))
  own, strange = sample('My number is (555) 123-2002.'), sample('555-987-6543')
  assert personal.find(env, own) == []
  assert personal.find(env, strange) == [('phone', '555-..')]
  envs = {env.name: env}
  samples, facts = personal.flag_personal([own, strange], envs, drop=False)
  assert samples == [own, strange]
  assert facts == {'counts': {'phone': 1},
                   'examples': {'phone': f'{item.id}: 555-..'}}
  samples, again = personal.flag_personal([own, strange], envs, drop=True)
  assert samples[0] == own and again == facts
  assert (samples[1].task, samples[1].rejection.name) == (
      None, 'Personal: phone')


class BareEnv(testing.EchoEnv):
  """A domain without a database."""

  def database_texts(self, task):
    return []


def test_a_domain_without_a_database_has_no_fiction():
  item = testing.echo_task('otter')
  sample = sample_lib.Sample(item, (types.Message('user', 'a@b.org'),))
  assert personal.find(BareEnv(), sample) == [('e-mail', 'a@b...')]
