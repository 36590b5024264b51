"""Checks of the exercises: `from tinylab.check import exercise_01 as check`, then `check.task(function)`.

`task` says what a task is; a module an exercise holds its tasks. `networks` and `kernels` make what
several tasks need: small models with random weights, and LiteRT's own answers to given numbers.
"""
