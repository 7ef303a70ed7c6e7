"""Holds the phrases of both sides of the telecom dialogues."""

OPENINGS = {
    'service_issue': (
        'Hi, my phone has shown No Service for hours.',
        'Hello, I have no service on my phone.',
        'My phone says No Service, can you help?',
        'I have had no service for a few hours now.'),
    'mobile_data_issue': (
        'Hi, my mobile data does not work properly.',
        'My mobile data is slow or stops. I want excellent speed.',
        'Hello, my mobile internet is bad, I need excellent speed.',
        'Something is wrong with my mobile data.'),
    'mms_issue': (
        'Hi, I cannot send MMS messages.',
        'My messaging app does not send MMS any more.',
        'Hello, sending an MMS has failed for hours.',
        'I am unable to send MMS messages, please help.')}
NUMBER = (
    'I am sorry to hear that. What is your phone number?',
    'I can help with that. Your phone number, please?',
    'Let us fix it. May I have your phone number?')
MY_NUMBER = ('My number is {}.', 'It is {}.', 'Sure, {}.')
THANKS = ('Thank you, {}. ', 'Thanks, {}. ', 'Hello, {}. ')
PLEASE = ('Please {}.', 'Now please {}.', 'Could you {}?', 'Next, please {}.')
DONE = {
    'None': ('Done', 'Okay, done', 'I did that', 'That is done'),
    'Easy': ('Understood, done', 'Done as you said', 'Got it, done',
             'Thanks, I did that'),
    'Hard': ('I think I did it', 'Done, I hope', 'Oh dear, done',
             'Well, I did it')}
# Words that a person who is uneasy with phones adds, first and on the way.
UNEASY = ('', ' Oh dear.', ' Phones confuse me.', ' I am worried.')
WONDER = ('I am bad with phones. Why must I {}?', 'Sorry, why must I {}?',
          'That worries me. Why should I {}?')
EXPLAIN = ('{} Please go ahead.', '{} Could you do it now?',
           'No worry. {} Please try it.')
REFUEL = (
    'Your data is used up. Change the plan, or refuel 2 GB at most, ${} each?',
    'You used up your data. Refuel up to 2 GB at ${} a GB, or change plans?')
ACCEPT = ('2 GB please, the price is fine.', 'Please add 2 GB, I accept.',
          'Add 2 GB, that price is okay.')
BILL = (
    'Bill {} of {} USD is overdue. I sent a payment request, please check '
    'and pay it.',
    'Your bill {} of {} USD is overdue. Please check my payment request and '
    'pay.')
PAID = ('I have paid it.', 'Done, the bill is paid.', 'I made the payment.')
WORKS = ('Great, it works again. Anything else?',
         'I am glad that it works now. Can I do more for you?',
         'Good, that is solved. Is there anything else?')
BYE = ('No, thank you. ###STOP###', 'That is all, thanks! ###STOP###',
       'No, goodbye. ###STOP###', 'Nothing else, thank you. ###STOP###')
HOLD = ('YOU ARE BEING TRANSFERRED TO A HUMAN AGENT. PLEASE HOLD ON.',)
HANDED = ('###TRANSFER###', 'Okay. ###TRANSFER###', 'Thanks. ###TRANSFER###')
