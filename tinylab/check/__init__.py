"""Checks of the exercises: `from tinylab.check import exercise_01 as check`, then `check.task(function)`.

`task` says what a task is; a module an exercise holds its tasks: the cases, and what is right. What a
learner's process needs besides the cases, and nothing that is right, is in `given_NN`. `answers` are what
comes of them there; `exchange` takes them to a grader, `keras_objects` layers and models among them.
`networks` makes small models with random weights for several exercises.
"""
