"""Writes the made-up class, and prints the table of it."""

import argparse
from pathlib import Path

from . import as_text, write

parser = argparse.ArgumentParser(description="Write the made-up class, and say what each must get.")
parser.add_argument("folder", type=Path, help="new: the submissions are written into it")
head = ("student", "group", "kind", "expected")
table = write(parser.parse_args().folder)
print(as_text([head, *((e.student, e.group, e.kind, e.points or e.problem) for e in table)]))
