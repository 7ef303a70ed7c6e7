"""Phrases of callers and agent, each in several variants.

`scripts.py` fills in the facts. Every variant of a report says the facts that
its demand has to tell.
"""

USER = {
    # Requests of the caller.
    'connection': (
        'My internet is down.', 'I have no internet.', 'I am offline.',
        'Nothing loads, the internet is gone.'),
    'slow': (
        'My internet is slow.', 'Everything loads so slowly.',
        'Why is my internet so slow?', 'The internet is slow again.'),
    'new_plan': (
        'I want to change my plan to {want}.',
        'Please change my plan to {want}.',
        'Can I change my plan to {want}?',
        'I need to change my plan to {want}.'),
    'fee_back': (
        'I want the fee of {amount} back.',
        'Why did I pay a fee of {amount}? I want it back.',
        'Please give me back the fee of {amount}.',
        'There is a fee of {amount}. Can I have it back?'),
    'move_visit': (
        'Please move my technician visit to day {day}.',
        'Can you move my technician visit to day {day}?',
        'I want to move my visit to day {day}.',
        'Better move my visit to day {day}.'),
    'pause': (
        'Please pause my internet until day {until}.',
        'I am away until day {until}. Can you pause my service?',
        'I need a pause until day {until}.'),
    'pay': (
        'I want to pay my bill.', 'Can I pay what I owe?',
        'Please take my payment.', 'I would like to pay now.'),
    'move_house': (
        'I move on day {day} and take my internet along.',
        'We move on day {day}, and the internet with us.',
        'I will move on day {day} with my internet.'),
    # Answers of the caller.
    'yes': ('Yes, please.', 'Yes, go ahead.', 'Yes.', 'Please do.'),
    'no': ('No, thanks.', 'No, leave it.', 'No, I do not want that.'),
    'pays': ('Yes, I will pay.', 'Fine, charge it.', 'Yes, take it.'),
    'pays not': (
        'No, not today.', 'No, I will not pay now.', 'Not now, no.'),
    'takes': ('Yes, {plan} please.', 'Yes, I take {plan}.', '{plan}, yes.'),
    'thinks again': (
        'Too much. Then take {then}.',
        'Oh, no. Better take {then}.',
        'No, take {then} instead.'),
    'otherwise': (
        'Then {otherwise}.', 'Then please {otherwise}.',
        'In that case {otherwise}.'),
    'on day': (
        'For day {day}, please.',
        'Take it for day {day}.',
        'A technician for day {day}, please.'),
    'shown': ('{shown}.', 'It shows {shown}.', 'I see {shown}.'),
}

AGENT = {
    # Instructions to the caller, by the tool they need.
    'look_at_lights': (
        'What do the lights of your router show?',
        'Please look at the lights of the router.',
        'Which lights are on?'),
    'press_power': (
        'Please press the power switch.', 'Please switch the power on.',
        'The power is off. Please press its switch.'),
    'check_cable': (
        'Please check the cable.', 'How is the cable?',
        'Can you look at the cable?'),
    'replug_cable': (
        'Please plug the cable in.', 'Please put the cable back in.',
        'Then plug the cable in again.'),
    'reboot_router': (
        'Please reboot the router.', 'Please restart your router.',
        'Can you reboot the router?'),
    'check_wifi': (
        'Please check the wifi.', 'How is your wifi set?',
        'Please look at the wifi settings.'),
    'press_wifi': (
        'Please press the wifi button.', 'Please switch the wifi on.',
        'The wifi is off. Please press its button.'),
    'toggle_airplane': (
        'Please switch airplane mode off.', 'Please leave airplane mode.',
        'Airplane mode is on. Please switch it off.'),
    'set_wifi_channel': (
        'Please set channel {channel}.',
        'Your channel is busy. Please take channel {channel}.',
        'Please change the channel to {channel}.'),
    'run_speed_test': (
        'Please run a speed test.', 'What does a speed test show?',
        'Please test the speed.'),
    # Offers that the caller must agree to.
    'settle': (
        'First there is a bill of {due} on account {account}. May I charge your card?',
        'There is a bill of {due} on account {account}. Shall I charge your card?',
        'You have a bill of {due} on account {account}. May I charge your card first?'),
    'resume': (
        'Your account {account} is paused. Shall I resume it?',
        'You have paused account {account}. May I resume it now?',
        'The service of account {account} is paused. Shall I resume it?'),
    'reset': (
        'The signal {signal} of account {account} is bad. May I reset the line?',
        'You have signal {signal}. Shall I reset the line of account {account}?',
        'I see signal {signal} on account {account}. May I reset the line?'),
    'which day': (
        'The {what}. A technician for account {account} has free days {free}. Which one?',
        'The {what}. There are free days {free} for account {account}. Which one?',
        'The {what}. For account {account} I have free days {free}. Which day?'),
    'taken': (
        'Day {day} is taken. For account {account} there are free days {free}. Which one?',
        'No, but account {account} has free days {free}. What do you say?',
        'Not day {day}. Account {account} has free days {free}. And now?'),
    'move visit': (
        'Shall I move the visit of account {account} to day {day}?',
        'I can move the visit of account {account} to day {day}. Do you agree?',
        'May I move the visit of account {account} to day {day}?'),
    'better plan': (
        'That is all that {plan} gives. Do you want {better}?',
        'Your plan {plan} gives no more. Would you take {better}?',
        '{plan} is not faster than that. Shall it be {better}?'),
    'cheaper plan': (
        'That is the limit of your line. Do you want {better}?',
        'Your line has that limit. {better} would do. Do you want it?',
        'It is the limit of the line. Would you take {better}?'),
    'offer': (
        '{plan} costs {price}. Shall I change account {account}?',
        'The plan {plan} costs {price}. May I change account {account}?',
        'With {plan}, account {account} costs {price}. Shall I change it?'),
    'credit': (
        'Shall I credit the fee of {amount}: {fee}?',
        'I can credit the fee of {amount}: {fee}. Do you agree?',
        'May I give back the fee of {amount}: {fee}?'),
    'pause': (
        'Shall I pause account {account} {how}?',
        'I can pause account {account} {how}. Do you agree?',
        'May I pause account {account} {how}?'),
    'move house': (
        'Shall I move account {account} on day {day}?',
        'I can move account {account} to the new house on day {day}. Yes?',
        'May I move the service of account {account} on day {day}?'),
    # Reports.
    'handed over': (
        '{why}. I hand you over to a human.',
        '{why}, so a human takes over now.',
        '{why}. A human will go on with you.'),
    'still due': (
        'Then I can do nothing, with a bill of {due}, sorry.',
        'Sorry, not as long as there is a bill of {due}.',
        'I am sorry, there is a bill of {due} to pay first.'),
    'outage': (
        'There is an outage in your area until day {back}, sorry.',
        'Sorry, your area has an outage. It ends on day {back}.',
        'It is an outage. All will work again on day {back}.'),
    'comes anyway': (
        'The {what}. Your technician comes on day {day} anyway.',
        'The {what}, and a technician is booked for day {day}.',
        'The {what}. It will be mended on day {day}, as booked.'),
    'booked': (
        'Done, the technician comes on day {day}.',
        'A technician will be there on day {day}.',
        'Your visit is on day {day} now.'),
    'too late': (
        'Sorry, it is too late: the visit is on day {day}.',
        'Day {day} is tomorrow, that is too late to move.',
        'It is too late for that, the visit is on day {day}.'),
    'visit stays': (
        'Fine, it stays on day {day}.', 'Day {day} it is, then.',
        'Good, your visit stays on day {day}.'),
    'visit cancelled': (
        'The visit is cancelled.', 'Done, it is cancelled.',
        'I have cancelled it. No technician comes.'),
    'online': (
        'Good, {speed}: all works again.', 'With {speed} it is mended.',
        '{speed} is fine. You are online again.'),
    'faster': (
        'Your line gives {speed} now.', 'It is {speed} now, as it should be.',
        'Good, you have {speed} now.'),
    'fastest': (
        'That is all that max gives; no plan is faster.',
        'You have max already: no plan is faster, sorry.',
        'Sorry, no plan is faster than max.'),
    'plan stays': (
        'Fine, you keep {plan} then.', 'All right, {plan} it stays.',
        'Good, your plan is still {plan}.'),
    'limit': (
        'Sorry, {plan} is too fast: the limit of your line is {limit}.',
        'I cannot: the limit of your line is {limit}, sorry.',
        'Your line has a limit of {limit}, so {plan} is ruled out.'),
    'contract': (
        'Sorry, your contract allows nothing slower until day {until}.',
        'Your contract holds until day {until}, so I cannot.',
        'Not before day {until}, because of your contract.'),
    'plan changed': (
        'Done, your {plan} costs {price} now.',
        'You have {plan} now, {plan} costs {price}.',
        'It is done: {plan} costs {price}.'),
    'install': (
        'Sorry, an install fee is never given back.',
        'That is the install fee, which stays, sorry.',
        'I cannot give back an install fee.'),
    'visit': (
        'Sorry, that is for the visit on day {day}, so it stays.',
        'It pays for your visit on day {day}, so I cannot.',
        'That fee is for the visit on day {day}, sorry.'),
    'late': (
        'Sorry, a late fee is given back only once.',
        'A late fee comes back once only, and you had yours.',
        'I may give back a late fee once, not more, sorry.'),
    'credited': (
        'Done, {amount} is credited.', 'I have credited {amount}.',
        'It is credited: you have {amount} back.'),
    'paused': (
        'Your service is paused until day {until}.',
        'Done, it is paused until day {until}.',
        'It is paused until day {until} now.'),
    'unchanged': (
        'Fine, nothing is changed.', 'All right, nothing is changed.',
        'Good, then nothing is changed.'),
    'paid': (
        'Done, your bill of {due} is paid.',
        'Your bill of {due} is paid, thank you.',
        'Thank you, the bill of {due} is paid now.'),
    'nothing due': (
        'Nothing is due, so there is nothing to pay.',
        'You owe nothing: nothing is due.', 'Good news: nothing is due.'),
    'moves': (
        'Done, your internet moves on day {day}.',
        'It is set: the move is on day {day}.',
        'Your service moves with you on day {day}.'),
}
