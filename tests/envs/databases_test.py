"""A database is known by its content, and comes back from its file as it is."""

import pytest

from agentrl import files
from agentrl.envs import databases

TABLES = {'lamps': {'b': {'level': 1, 'of': ['Zoë', None]}, 'a': {}}}


def test_what_is_written_is_read_in_the_same_order(tmp_path):
  name = databases.digest(TABLES)
  databases.write(tmp_path, name, TABLES)
  assert files.file_digest(databases.find(str(tmp_path), name)) == name
  read = databases.read(str(tmp_path), name)
  assert read == TABLES and list(read['lamps']) == ['b', 'a']
  turned = {'lamps': dict(reversed(TABLES['lamps'].items()))}
  assert databases.digest(turned) != name


@pytest.mark.parametrize('value', [(1, 2), {1: 2}, float('nan'), {1}])
def test_what_no_file_gives_back_is_refused(value):
  with pytest.raises(ValueError, match='must be plain JSON'):
    databases.digest({'lamps': {'a': {'of': value}}})


def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path):
  with pytest.raises(ValueError, match='config.env.databases'):
    databases.find(str(tmp_path), 'absent')
  databases.write(tmp_path, 'wrong', TABLES)
  with pytest.raises(ValueError, match='corrupt'):
    databases.find(str(tmp_path), 'wrong')


def test_only_what_is_named_is_kept(tmp_path):
  for name in 'ab':
    databases.write(tmp_path, name, TABLES)
  databases.prune(tmp_path, ['b'])
  assert [p.name for p in tmp_path.iterdir()] == ['b.json']
