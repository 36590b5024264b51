"""What exercise 09 gives to learners: two budgets, which are moved a little when a network is checked."""

from tinylab.boards import BOARDS as BOARDS  # some cases hold boards

# The network fits the first in int8, and not the second.
ROOMY = {"flash": 40_000, "arena": 14_000, "accuracy": 0.87}
TIGHT = {"flash": 18_000, "arena": 5_000, "accuracy": 0.84}
