"""Checks of the exercises: `from tinylab.check import exercise_01 as check`, then `check.task(function)`.

`task` says what a task is; a module an exercise holds its tasks. `networks` makes
small models with random weights for several of them.
"""
