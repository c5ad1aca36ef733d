"""Search spaces: what they are made of, those of published benchmarks, and how to register one's own."""

from .base import SearchSpace
from .benchmark import Origin, Package, Reader
from .parts import ACTIVATIONS, AGGREGATIONS, CHOICE_KINDS, RELATIONS, SLOT_KINDS, Choice, Slot
from .registry import DEFAULT_SPACE, get_space, list_spaces, register_modules, register_space, unregister_space
from .tasks import TASK_KINDS, TASK_TRAITS, Task, TaskLike

register_modules(__path__)

__all__ = [
    "ACTIVATIONS",
    "AGGREGATIONS",
    "CHOICE_KINDS",
    "DEFAULT_SPACE",
    "RELATIONS",
    "SLOT_KINDS",
    "TASK_KINDS",
    "TASK_TRAITS",
    "Choice",
    "Origin",
    "Package",
    "Reader",
    "SearchSpace",
    "Slot",
    "Task",
    "TaskLike",
    "get_space",
    "list_spaces",
    "register_space",
    "unregister_space",
]
