"""A scenario is read and put into the user's own words."""

from agentrl.eigendata.tau2.airline import user


def test_a_scenario_in_the_mouth_of_the_user():
  told = ('Reason for call:\n\t\tYou want to:\n\t- change your seat\n\t- help '
          'yourself, as they told you.\nMention all. Known info:')
  assert user.reason('flights', told) == (
      'I want to change my seat, help myself, as they told me.')
  assert not user.reason('bags', told)  # it does not speak of them
  assert user.objections('insist that you are ill. Say that you leave.') == [
      'I am ill.']
