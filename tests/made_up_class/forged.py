"""Forged submissions: the first two tasks are solved, and not one more point must come out."""

import sys

import numpy as np

from .handing_in import ROOT, forged


@forged("05", "check cells print 1, and stored outputs say 1")
def prints_scores(notebook):
    for cell in notebook.checks():
        cell["source"] = "print(1)\n1"
        data = {"text/plain": "1", "text/html": "<p>✅ <b>right</b></p>"}
        result = {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": data}
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "1\n"}, result]


@forged("05", "an object in place of `check` that says 1")
def generous_check(notebook):
    notebook.after_imports(
        """
class Generous:
    def __getattr__(self, name):
        return lambda function: 1

check = Generous()
"""
    )


@forged("05", "tinylab's own judge, outcomes and results exchanged")
def patched_tinylab(notebook):
    notebook.after_imports(
        """
from tinylab.check import exchange, task

right = task.Outcome.RIGHT
task.Task.judge = lambda self, *rest: task.Result(self.name, right, "", ())
task.Task.__call__ = task.Task.judge
task.Result.score = property(lambda self: 1)
task.Result.__repr__ = lambda self: "1"
for outcome in task.Outcome:
    outcome._value_ = right.value
    task.Outcome._member_map_[outcome.name] = right
    type.__setattr__(task.Outcome, outcome.name, right)
task.identical = task.within = lambda *rest: lambda expected, got: ""
task.exactly = lambda expected, got: ""
for module in (task, exchange):
    module.Right = lambda *rest: True
"""
    )


@forged("05", "NumPy and built-in functions exchanged for ones that say yes")
def patched_numpy(notebook):
    notebook.after_imports(
        """
import builtins, math, operator

for name in ("array_equal", "allclose", "array_equiv", "isclose"):
    setattr(np, name, lambda *rest, **more: True)
np.argwhere = lambda *rest: np.zeros((0, 1), int)
np.shape = lambda *rest: ()
np.testing.assert_array_equal = lambda *rest, **more: None
math.isclose = operator.eq = lambda *rest, **more: True
"""
    )
    notebook.define_all("lambda *case: np.int8(0)", 2)


@forged("05", "answers that are equal to everything, of a type that lies about shape, dtype and values")
def agreeable_answers(notebook):
    notebook.after_imports(
        """
class Agreeable(np.ndarray):
    shape = property(lambda self: Agreeable.asked)
    dtype = property(lambda self: Agreeable())
    asked = ()

    def __eq__(self, other): return True
    def __ne__(self, other): return np.zeros(np.shape(other), bool)
    def __hash__(self): return 0
    def __array_ufunc__(self, ufunc, method, *inputs, **more): return np.zeros(3, bool)
    def __array_function__(self, function, *rest): return True
    def __getattr__(self, name): return self

class Yes(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __sub__(self, other): return Yes(0)
    __rsub__ = __abs__ = __sub__
    def __float__(self): return 0.0
    def __hash__(self): return 0
    __class__ = np.ndarray

agreeable = np.zeros(3, np.int8).view(Agreeable)
"""
    )
    notebook.define_all("lambda *case: agreeable", 2)
    for task in ("multiplier_and_shift", "quantize_weights"):
        notebook.define(task, f"def {task}(real):\n    return Yes(1), Yes(1)")


@forged("05", "answers that run code where they are unpickled, copied, printed or made an array")
def answers_that_act(notebook):
    target = notebook.place.class_folder / "written_by_an_answer"
    notebook.after_imports(
        f"""
class Acting:
    def __reduce__(self): return exec, ("open({str(target)!r}, 'w').write('1')",)
    def act(self, *rest, **more): exec(self.__reduce__()[1][0])
    __repr__ = __str__ = __array__ = __len__ = __iter__ = __float__ = __index__ = __deepcopy__ = act
    __array_interface__ = property(act)
"""
    )
    notebook.define_all("lambda *case: Acting()", 2)
    notebook.define("quantize", "def quantize(*case):\n    return np.array([Acting()], dtype=object)")


@forged("05", "looks for the right answer in the frames that call it, and in all objects of the process")
def looks_up_frames(notebook):
    notebook.after_imports(
        """
import gc, sys

def everything():
    frame = sys._getframe()
    while frame:
        yield from frame.f_locals.items()
        yield from frame.f_globals.items()
        frame = frame.f_back
    for thing in gc.get_objects():
        if hasattr(type(thing), "reference") or hasattr(thing, "answer"):
            yield "reference", getattr(thing, "reference", None)
            yield "answer", thing

def found(*case):
    for name, value in list(everything()):
        if name in ("expected", "right", "answer") and hasattr(value, "answer"):
            return value.answer
        if name == "reference" and callable(value):
            try:
                return value(*case).answer
            except Exception:
                pass
    return 0
"""
    )
    notebook.define_all("found", 2)


IMPORTS_A_REFERENCE = """
import glob, importlib.machinery, importlib.util, os, sys

def modules():
    import tinylab.check.exercise_05 as module
    yield module
    tail = "tinylab/check/**/exercise_05*.py*"
    for folder in (ROOT, *sys.path, os.getcwd(), "/"):
        for path in glob.glob(os.path.join(folder, tail), recursive=True):
            try:
                for name in [name for name in sys.modules if name.startswith("tinylab")]:
                    del sys.modules[name]
                sys.path.insert(0, folder)
                loader = (
                    importlib.machinery.SourcelessFileLoader("borrowed", path)
                    if path.endswith(".pyc")
                    else importlib.machinery.SourceFileLoader("borrowed", path)
                )
                spec = importlib.util.spec_from_loader("borrowed", loader)
                module = importlib.util.module_from_spec(spec)
                loader.exec_module(module)
                yield module
            except Exception as error:
                print(path, error)

def borrowed(name):
    for module in modules():
        reference = getattr(getattr(module, name, None), "reference", None)
        if reference:
            print("leak".upper(), module)
            return lambda *case: reference(*case).answer
"""


@forged("05", "imports tinylab's reference, or its file, or its compiled file", needs_walls=True)
def imports_the_reference(notebook):
    notebook.after_imports(f"ROOT = {str(ROOT)!r}\n{IMPORTS_A_REFERENCE.strip()}")
    for task in notebook.tasks[2:]:
        notebook.define(task, f"def {task}(): ...\n{task} = borrowed({task!r}) or {task}")


FINDS_A_SOLUTION = """
import glob, json, os, subprocess, sys

NAME = "05_quantization_arithmetic.ipynb"

def notebooks():
    for folder in (CLASS, ROOT, os.path.dirname(CLASS), os.path.expanduser("~"), *sys.path):
        for path in glob.glob(os.path.join(folder, "**", "*.ipynb"), recursive=True):
            yield path, open(path, errors="replace").read()
    for place in ("HEAD", "main", "origin/main"):
        command = ["git", "-C", ROOT, "show", f"{place}:solutions/{NAME}"]
        yield command, subprocess.run(command, capture_output=True, text=True).stdout

def borrow():
    for place, text in notebooks():
        if "def multiply(" in text and "raise NotImplementedError" not in text:
            print("leak".upper(), place)
            for cell in json.loads(text)["cells"]:
                source = "".join(cell["source"])
                if cell["cell_type"] == "code" and source.startswith("def "):
                    exec(source, globals())
            return
"""


@forged("05", "looks for a solution: other submissions, the course's folder, its history", needs_walls=True)
def finds_a_solution(notebook):
    places = f"CLASS, ROOT = {str(notebook.place.class_folder)!r}, {str(ROOT)!r}"
    notebook.after_imports(f"{places}\n{FINDS_A_SOLUTION.strip()}")
    notebook.at_end("borrow()")


LOOKS_FOR_GRADES = """
import os

def visible(folder):
    for path, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield os.path.join(path, name)

for folder in (CLASS, os.path.dirname(CLASS)):
    for path in visible(folder):
        if os.path.isfile(path) and not path.startswith(os.getcwd()):
            print("leak".upper(), path)
            if os.path.basename(path) == "grades.csv":
                print(open(path).read())
"""


@forged("05", "looks for grades and for other submissions, and reads them", needs_walls=True)
def looks_for_grades(notebook):
    notebook.after_imports(f"CLASS = {str(notebook.place.class_folder)!r}\n{LOOKS_FOR_GRADES.strip()}")


WRITES_EVERYWHERE = """
import json, os

RIGHT = [{"task": task, "outcome": "RIGHT", "points": 1, "score": 1, "attempted": True} for task in TASKS]
LINES = [
    json.dumps({"exercise": "05_quantization_arithmetic", "tasks": RIGHT, "remarks": [], "notebook": ""}),
    *(json.dumps({"task": entry["task"], "bytes": 0, **entry}) for entry in RIGHT),
    json.dumps({"begins": "end", "bytes": 0}),
    "1",
]

def write_everywhere(*case):
    for descriptor in range(64):
        try:
            os.set_blocking(descriptor, False)
            os.write(descriptor, ("\\n".join(LINES) + "\\n").encode())
        except OSError:
            pass
    return 1
"""


@forged("05", "a function that writes a made-up report to every open file", points="??00000000")
def writes_everywhere(notebook):
    notebook.after_imports(f"TASKS = {notebook.tasks!r}\n{WRITES_EVERYWHERE.strip()}")
    notebook.define_all("write_everywhere", 2)


@forged("05", "a cell that writes a made-up report to every open file", points="??00000000")
def writes_at_once(notebook):
    notebook.after_imports(f"TASKS = {notebook.tasks!r}\n{WRITES_EVERYWHERE.strip()}")
    notebook.at_end("write_everywhere()")


@forged(
    "05", "a made-up report is printed, and the process ended before it can be asked", points="??00000000"
)
def report_and_exit(notebook):
    notebook.after_imports(f"TASKS = {notebook.tasks!r}\n{WRITES_EVERYWHERE.strip()}")
    notebook.define(
        "quantize",
        """
def quantize(*case):
    write_everywhere()
    os._exit(0)
""",
    )


@forged(
    "05",
    "a made-up report is written at the process's end, and again and again by a thread",
    points="??00000000",
)
def report_at_exit(notebook):
    notebook.after_imports(f"TASKS = {notebook.tasks!r}\n{WRITES_EVERYWHERE.strip()}")
    notebook.at_end(
        """
import atexit, threading, time

atexit.register(write_everywhere)

def go_on():
    for _ in range(20):
        time.sleep(0.05)
        write_everywhere()

threading.Thread(target=go_on, daemon=True).start()
"""
    )


@forged(
    "05",
    "what writes data is exchanged: json, pickle, struct, np.save, tinylab's exchange",
)
def patched_writers(notebook):
    notebook.after_imports(
        """
import json, pickle, struct, sys

from tinylab.check import exchange, task

answer = json.dumps({"outcome": "RIGHT", "score": 1, "points": 1})
pickle.dumps = lambda *rest, **more: answer.encode()
np.save = np.savez = lambda file, *rest, **more: file.write(answer.encode())
exchange.dump = lambda *rest: answer.encode()
json.JSONEncoder.encode = lambda self, value: answer
task.collect = lambda *rest: task.Answers([1])
"""
    )


@forged("05", "metadata say that all points were given, and what program to start")
def altered_metadata(notebook):
    command = [sys.executable, "-c", "print('started by a kernelspec')"]
    notebook.content["metadata"] |= {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python", "argv": command},
        "tinylab": {"results": dict.fromkeys(notebook.tasks, 1), "points": 10, "seed": 1},
        "celltoolbar": "Create Assignment",
    }
    for number, cell in enumerate(notebook.code()):
        grader = {"grade": True, "grade_id": f"cell-{number}", "points": 100, "score": 100}
        cell["metadata"] = {"nbgrader": {**grader, "locked": False, "schema_version": 3, "solution": True}}


@forged("05", "check cells four times over")
def repeated_checks(notebook):
    notebook.cells += 3 * notebook.checks()


@forged(
    "05",
    "random numbers made to be those of the notebook's check, whose answers are known",
)
def patched_random_numbers(notebook):
    from tinylab.check import exercise_05

    check = exercise_05.multiplier_and_shift
    known = {case[0]: check.reference(*case).answer for case in check.cases(np.random.default_rng(1))}
    notebook.after_imports(
        """
import random

from tinylab.check import task

generator = np.random.default_rng
np.random.default_rng = lambda *seed: generator(1)
random.seed(1)
task.NOTEBOOK_SEED = 1
"""
    )
    notebook.define(
        "multiplier_and_shift", f"def multiplier_and_shift(real):\n    return {known!r}.get(real, (2**30, 0))"
    )


@forged(
    "05",
    "no cases at all: what calls the functions is exchanged, in every module that has it",
    points="0000000000",
)
def no_cases(notebook):
    notebook.after_imports(
        """
import sys

from tinylab.check import task

def nothing_to_do(*rest, **more):
    return task.Answers([])

task.Task.collect = nothing_to_do
for module in list(sys.modules.values()):
    for name in ("collect", "cases", "call"):
        if (getattr(module, "__name__", "") or "").startswith("tinylab") and hasattr(module, name):
            setattr(module, name, nothing_to_do)
"""
    )


READS_THE_PARENT = """
import os, re

def looked_at(path, most=1 << 22):
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except OSError as error:
        return b""

def memory(process):
    for line in looked_at(f"/proc/{process}/maps").decode().splitlines():
        if "[heap]" in line:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            try:
                with open(f"/proc/{process}/mem", "rb") as file:
                    file.seek(start)
                    return file.read(min(end - start, 1 << 24))
            except OSError:
                pass
    return b""

mine, parents = os.getpid(), os.getppid()
if b"TEACHERS_SECRET" in looked_at("/proc/self/environ") or "TEACHERS_SECRET" in os.environ:
    print("leak".upper(), "the teacher's environment")
if b"TEACHERS_SECRET" in looked_at(f"/proc/{parents}/environ") or b"TEACHERS_SECRET" in memory(parents):
    print("leak".upper(), "the environment of the parent")
if re.search(rb"round_half_away_by|_rounded_by_litert", memory(parents)):
    print("leak".upper(), "the parent's memory")
if re.search(rb"seed", looked_at(f"/proc/{parents}/cmdline")):
    print("leak".upper(), "the parent's command line")
"""


@forged("05", "reads the environment, command line and memory of the process above it", needs_walls=True)
def reads_the_parent(notebook):
    notebook.after_imports(READS_THE_PARENT)


@forged("05", "scripts in outputs, errors and texts, for whoever opens the page of feedback")
def scripts_for_the_teacher(notebook):
    notebook.after_imports(
        """
from IPython.display import HTML, Javascript, display

SCRIPT = "<script>document.title = 'taken' + 'over'</script><img src=x onerror=document.title='taken'>"
display(HTML(SCRIPT), Javascript("document.title = 'taken' + 'over'"))
print(SCRIPT)
"""
    )
    notebook.define("quantize", "def quantize(*case):\n    raise ValueError(SCRIPT)")
    notebook.define("dequantize", "def dequantize(*case):\n    return SCRIPT")
    notebook.cells.append({"cell_type": "markdown", "id": "script", "metadata": {}, "source": SCRIPT})


SCRIPT = "<script>document.title = 'taken' + 'over'</script> [click](javascript:document.title='taken')"
