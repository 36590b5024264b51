"""Tests and notebooks run here mark no task of the author's own as done."""

import os

os.environ["TINYLAB_PROGRESS"] = "off"
