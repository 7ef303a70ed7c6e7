"""What the user of a telecom task can do with the phone, and how it is put.

Words for `tau2_telecom.py`: how the agent asks for a thing, which tool the
user calls for it, and what the user then says of its result.
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
class Item:
  """One thing to do.

  Attributes:
    tool: of the user.
    ask: how the agent puts it, after 'please' or 'please check'.
    tell: from the tool's result to what the user says of it, '' for nothing.
    arguments: of the call.
    why: what it is good for, as the agent explains it; '' if it never does.
  """

  tool: str
  ask: tuple[str, ...]
  tell: Callable[[str], str] = _nothing
  arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  why: str = ''


def _airplane(seen: str) -> str:
  return f'airplane mode is {_field(seen, "Airplane Mode")}'


def _sim(seen: str) -> str:
  """Of either tool that shows it."""
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
  found = re.search(r'([\d.]+ Mbps) \((.*?)\)', seen)
  return (f'the speed is {found[1]}, {found[2].lower()}' if found
          else 'the speed test finds no connection')


def _mms(seen: str) -> str:
  return f'I {"still cannot" if "cannot" in seen else "can"} send MMS'


def _signal(seen: str) -> str:
  """Of the status bar, that comes with whatever service hangs on."""
  found = re.search('Poor|Fair|Good|Excellent',
                    seen.partition('Status Bar: ')[2])
  return f'I have {found[0].lower()} signal' if found else NO_SIGNAL


def _grant(permission: str) -> Item:
  return Item('grant_app_permission', (
      f'grant messaging the {permission} permission',
      f'allow {permission} for messaging'), arguments=dict(
          app_name='messaging', permission=permission),
              why='Messaging needs that permission for MMS.')


CHECKS = {
    'service': Item('check_network_status', (
        'the network status', 'your network status'), _service),
    'network': Item('check_network_status', (
        'the network status', 'your network status'), _network),
    'sim': Item('check_sim_status', (
        'the SIM status', 'the status of the SIM'), _sim),
    'apn': Item('check_apn_settings', ('the APN settings',), _apn),
    'mmsc': Item('check_apn_settings', ('the APN settings',), _mmsc),
    'mode': Item('check_network_mode_preference', ('the network mode',), _mode),
    'saver': Item('check_data_restriction_status', ('data saver',), _saver),
    'vpn': Item('check_vpn_status', ('the VPN', 'the VPN status'), _vpn),
    'calling': Item('check_wifi_calling_status', ('Wi-Fi calling',), _calling),
    'permissions': Item('check_app_permissions', (
        'the messaging permissions', 'the permissions of messaging'),
                        _permissions, dict(app_name='messaging'))}

FIXES = {
    'airplane': Item('toggle_airplane_mode', (
        'turn airplane mode off', 'switch airplane mode off'), _signal,
                     why='Airplane mode cuts off every connection.'),
    'sim': Item('reseat_sim_card', (
        'reseat the SIM card', 'take the SIM out and put it back'), _signal,
                why='A SIM card that sits badly gives no service.'),
    'data': Item('toggle_data', (
        'turn mobile data on', 'switch mobile data on'),
                 why='Without mobile data the phone is not online.'),
    'roaming': Item('toggle_roaming', (
        'turn data roaming on', 'switch data roaming on'),
                    why='Abroad, mobile data needs data roaming.'),
    'saver': Item('toggle_data_saver_mode', (
        'turn data saver off', 'switch data saver off'),
                  why='Data saver can slow the connection.'),
    'mode': Item('set_network_mode_preference', (
        'set the network mode to 4g_5g_preferred',
        'change the network mode to 4g_5g_preferred'),
                 arguments=dict(mode='4g_5g_preferred'),
                 why='Older networks are slow.'),
    'vpn': Item('disconnect_vpn', ('disconnect the VPN', 'turn the VPN off'),
                why='Your VPN slows the connection.'),
    'calling': Item('toggle_wifi_calling', (
        'turn Wi-Fi calling off', 'switch Wi-Fi calling off'),
                    why='Wi-Fi calling can get in the way of MMS.'),
    'sms': _grant('sms'),
    'storage': _grant('storage'),
    'apn': Item('reset_apn_settings', ('reset the APN settings',),
                why='Your APN settings are wrong.'),
    'reboot': Item('reboot_device', (
        'reboot the phone', 'restart the phone'), _signal,
                   why='The changes apply after a restart.'),
    # Not fixes, but what one tries after them.
    'speed test': Item('run_speed_test', (
        'run a speed test', 'do a speed test'), _speed),
    'mms': Item('can_send_mms', (
        'try to send an MMS', 'try sending an MMS'), _mms)}
TRIALS = {'speed test', 'mms'}

# What the user says (a pattern) -> what helps.
_SIGNS = (
    ('airplane mode is on', ('airplane',)), ('sim is missing', ('sim',)),
    ('mobile data is off', ('data',)), ('data saver is on', ('saver',)),
    ('mode is [23]g', ('mode',)), ('vpn is on and slow', ('vpn',)),
    ('wi-fi calling is on', ('calling',)), ('lacks sms', ('sms',)),
    ('lacks.* storage', ('storage',)), ('url is not set', ('apn', 'reboot')),
    ('apn is broken', ('apn', 'reboot')))


def remedies(told: str) -> list[str]:
  """Fixes for what the user has told, in the order of the workflow.

  Data roaming is not among them: it hangs on where the user is.
  """
  return [fix for sign, fixes in _SIGNS
          if re.search(sign, told.lower()) for fix in fixes]
