"""For teachers: exercises out, notebooks in, grades that nobody can forge.

`release` hands exercises out. `gradebook` grades what comes back: `collection` finds out who handed in
what, `grading` has each notebook run in a `sandbox` and its answers judged outside of it, `feedback`
writes what teachers and learners read.
"""
