"""Events of workers and tasks: their form, their sending and receiving, and the state that is made of them.

There is no transport for events yet. So a dispatcher writes them to the log, and a receiver handles those that a
program gives it. ``state`` needs no transport.
"""

from .dispatcher import EventDispatcher
from .event import Event, event_exchange, get_exchange, group_from
from .receiver import EventReceiver

__all__ = ("Event", "EventDispatcher", "EventReceiver", "event_exchange", "get_exchange", "group_from")
