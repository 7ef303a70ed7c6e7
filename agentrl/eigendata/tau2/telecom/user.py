"""Defines the actions of a telecom user on the phone, with words for each.

An action has the agent's words that ask for it, the tool that the user calls,
and the user's words about the tool's result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
import re
from typing import Any

NO_SIGNAL = 'there is no signal'


def _nothing(seen: str) -> str:
  del seen
  return ''


@dataclasses.dataclass(frozen=True, slots=True)
class PhoneAction:
  """Describes one action of the user.

  Attributes:
    tool: name of the user's tool.
    ask: variants of the agent's words, after 'please' or 'please check'.
    tell: converts the tool's result to the user's words, '' for none.
    arguments: arguments of the call.
    why: the agent's reason for the action; '' if it never gives one.
  """

  tool: str
  ask: tuple[str, ...]
  tell: Callable[[str], str] = _nothing
  arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  why: str = ''


def _airplane(seen: str) -> str:
  return f'airplane mode is {_field(seen, "Airplane Mode")}'


def _sim(seen: str) -> str:
  """Puts the result of either tool that shows the SIM into words."""
  for sign in ('missing', 'No SIM', 'locked'):
    if sign in seen:
      return f'the SIM is {sign.replace("No SIM", "missing")}'
  return 'the SIM is active'


def _service(seen: str) -> str:
  return f'{_airplane(seen)}, {_sim(seen)}'


def _network(seen: str) -> str:
  return (f'{_service(seen)}, mobile data is '
          f'{_field(seen, "Mobile Data Enabled")}, roaming is '
          f'{_field(seen, "Data Roaming Enabled")}')


def _field(seen: str, name: str) -> str:
  value = re.search(f'{name}: (.*)', seen)[1].lower()
  return {'yes': 'on', 'no': 'off'}.get(value, value)


def _apn(seen: str) -> str:
  return f'the APN is {_field(seen, "APN Name")}'


def _mmsc(seen: str) -> str:
  return f'the MMSC URL is {"not set" if "Not Set" in seen else "set"}'


def _mode(seen: str) -> str:
  return f'the mode is {_field(seen, "Preference")}'


def _saver(seen: str) -> str:
  return f'data saver is {"on" if " ON" in seen else "off"}'


def _calling(seen: str) -> str:
  return f'Wi-Fi calling is {"on" if " ON" in seen else "off"}'


def _permissions(seen: str) -> str:
  lacks = [p for p in ('sms', 'storage') if p not in seen]
  return f'messaging lacks {" and ".join(lacks) or "nothing"}'


def _vpn(seen: str) -> str:
  if 'connected' not in seen:
    return 'the VPN is off'
  return f'the VPN is on{" and slow" if "POOR" in seen else ""}'


def _speed(seen: str) -> str:
  speed = re.search(r'([\d.]+ Mbps) \((.*?)\)', seen)
  return (f'the speed is {speed[1]}, {speed[2].lower()}' if speed
          else 'the speed test finds no connection')


def _mms(seen: str) -> str:
  return f'I {"still cannot" if "cannot" in seen else "can"} send MMS'


def _signal(seen: str) -> str:
  """Puts the signal into words, from the status bar that many tools show."""
  signal = re.search('Poor|Fair|Good|Excellent',
                     seen.partition('Status Bar: ')[2])
  return f'I have {signal[0].lower()} signal' if signal else NO_SIGNAL


def _grant(permission: str) -> PhoneAction:
  return PhoneAction(
      'grant_app_permission', (
          f'grant messaging the {permission} permission',
          f'allow {permission} for messaging'),
      arguments=dict(app_name='messaging', permission=permission),
      why='Messaging needs that permission for MMS.')


CHECKS = {
    'service': PhoneAction(
        'check_network_status', (
            'the network status', 'your network status'), _service),
    'network': PhoneAction(
        'check_network_status', (
            'the network status', 'your network status'), _network),
    'sim': PhoneAction(
        'check_sim_status', ('the SIM status', 'the status of the SIM'), _sim),
    'apn': PhoneAction('check_apn_settings', ('the APN settings',), _apn),
    'mmsc': PhoneAction('check_apn_settings', ('the APN settings',), _mmsc),
    'mode': PhoneAction(
        'check_network_mode_preference', ('the network mode',), _mode),
    'saver': PhoneAction(
        'check_data_restriction_status', ('data saver',), _saver),
    'vpn': PhoneAction(
        'check_vpn_status', ('the VPN', 'the VPN status'), _vpn),
    'calling': PhoneAction(
        'check_wifi_calling_status', ('Wi-Fi calling',), _calling),
    'permissions': PhoneAction(
        'check_app_permissions', (
            'the messaging permissions', 'the permissions of messaging'),
        _permissions, dict(app_name='messaging'))}

FIXES = {
    'airplane': PhoneAction(
        'toggle_airplane_mode', (
            'turn airplane mode off', 'switch airplane mode off'), _signal,
        why='Airplane mode cuts off every connection.'),
    'sim': PhoneAction(
        'reseat_sim_card', (
            'reseat the SIM card', 'take the SIM out and put it back'), _signal,
        why='A SIM card that sits badly gives no service.'),
    'data': PhoneAction(
        'toggle_data', ('turn mobile data on', 'switch mobile data on'),
        why='Without mobile data the phone is not online.'),
    'roaming': PhoneAction(
        'toggle_roaming', ('turn data roaming on', 'switch data roaming on'),
        why='Abroad, mobile data needs data roaming.'),
    'saver': PhoneAction(
        'toggle_data_saver_mode', (
            'turn data saver off', 'switch data saver off'),
        why='Data saver can slow the connection.'),
    'mode': PhoneAction(
        'set_network_mode_preference', (
            'set the network mode to 4g_5g_preferred',
            'change the network mode to 4g_5g_preferred'),
        arguments=dict(mode='4g_5g_preferred'),
        why='Older networks are slow.'),
    'vpn': PhoneAction(
        'disconnect_vpn', ('disconnect the VPN', 'turn the VPN off'),
        why='Your VPN slows the connection.'),
    'calling': PhoneAction(
        'toggle_wifi_calling', (
            'turn Wi-Fi calling off', 'switch Wi-Fi calling off'),
        why='Wi-Fi calling can get in the way of MMS.'),
    'sms': _grant('sms'),
    'storage': _grant('storage'),
    'apn': PhoneAction(
        'reset_apn_settings', ('reset the APN settings',),
        why='Your APN settings are wrong.'),
    'reboot': PhoneAction(
        'reboot_device', ('reboot the phone', 'restart the phone'), _signal,
        why='The changes apply after a restart.'),
    # Not fixes, but trials after them.
    'speed test': PhoneAction(
        'run_speed_test', ('run a speed test', 'do a speed test'), _speed),
    'mms': PhoneAction(
        'can_send_mms', ('try to send an MMS', 'try sending an MMS'), _mms)}
TRIALS = {'speed test', 'mms'}

# (pattern of the user's words, fixes that help)
_SIGNS = (
    ('airplane mode is on', ('airplane',)), ('sim is missing', ('sim',)),
    ('mobile data is off', ('data',)), ('data saver is on', ('saver',)),
    ('mode is [23]g', ('mode',)), ('vpn is on and slow', ('vpn',)),
    ('wi-fi calling is on', ('calling',)), ('lacks sms', ('sms',)),
    ('lacks.* storage', ('storage',)), ('url is not set', ('apn', 'reboot')),
    ('apn is broken', ('apn', 'reboot')))


def remedies(told: str) -> list[str]:
  """Returns the fixes for the user's words, in the order of the workflow.

  Data roaming is not among them: it depends on where the user is.
  """
  return [fix for sign, fixes in _SIGNS
          if re.search(sign, told.lower()) for fix in fixes]
