"""A whole class graded, in as many sittings as it takes.

The folder of the grades holds, besides what people read: grading.json, the seed of this class's random
cases; results/, a file a notebook, written as soon as it is graded; grading.lock, held during a run. So a
run may end at any moment, by Ctrl-C or a power cut, and the next one grades only what is missing.
"""

import contextlib
import hashlib
import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path

import filelock
import psutil

import tinylab
from tinylab import cluster, whole_file
from tinylab.check.task import Outcome
from tinylab.classroom import feedback
from tinylab.classroom.collection import Submission, collect, exercise_of
from tinylab.classroom.exercises import exercises
from tinylab.classroom.report import SAME_FILE, Graded, Report
from tinylab.classroom.sandbox import Isolation, Limits, isolation
from tinylab.errors import DataError, TinylabError
from tinylab.progress import progress

FORMAT = 1  # of grading.json and of the results
SEED_BITS = 64
CHECKS = Path(tinylab.__file__).parent / "check"
USUAL = Limits()

Notebook = tuple[bytes, str]  # content, exercise
Found = Iterator[tuple[Notebook, Report | None, str]]  # its report, or none, and why none


def grade(
    submissions: str | PathLike,
    grades: str | PathLike,
    jobs: int = 1,
    scheduler: str | None = None,
    limits: Limits = USUAL,
) -> list[Graded]:
    """Grade what a class handed in, and write grades and feedback.

    What a former run graded is not graded again, unless the notebook, its exercise and checks, the limits
    or tinylab's version are others. The same file handed in by several is graded once. Of several notebooks
    of one student and exercise, the one with most points counts. What goes on is said on stderr.

    Args:
        submissions: a folder or a zip file, see `collection.collect`; only read.
        grades: folder to write to; made if need be. Keep it from learners: its seed tells the cases.
        jobs: how many notebooks at a time, on this machine.
        scheduler: address of a Dask scheduler, whose workers do the work then, see `tinylab.cluster`.
        limits: for each notebook.

    Returns:
        Every file that was handed in, by student, exercise and file.

    Raises:
        DataError: nothing was handed in; one folder inside the other; grades that hold something else,
            cannot be written, or that another run is writing.
        TinylabError: a package is missing; no scheduler there, no workers like this, or it is gone.
    """
    feedback.check_packages()  # before an hour of work, not after it
    from tinylab.classroom import grading

    submissions, grades = Path(submissions), Path(grades)
    _refuse_overlap(submissions, grades)
    handed_in = [(_matched(submission), submission.content) for submission in collect(submissions)]
    with _locked(grades):
        store = _Store(grades, limits)
        asked = {(content, one.exercise) for one, content in handed_in if not one.problem}
        known = {notebook: report for notebook in asked if (report := store.read(notebook))}
        common = {"seed": store.seed, "limits": limits}
        todo = {
            (content, exercise): {"content": content, "exercise": exercise, **common}
            # one exercise after the other: what was prepared for one serves all its notebooks
            for content, exercise in sorted(asked - known.keys(), key=lambda notebook: notebook[::-1])
        }
        _say(
            f"{len(handed_in)} files handed in, {len(asked)} different notebooks among them: "
            f"{len(known)} graded already, {len(todo)} to grade."
        )
        errors: dict[Notebook, str] = {}
        if todo:
            work = grading.grade_notebook
            found = _here(work, todo, jobs) if scheduler is None else _there(work, todo, scheduler)
            try:
                for notebook, report, error in found:
                    if report:
                        known[notebook] = report
                        store.write(notebook, report)
                    else:
                        errors[notebook] = error
            finally:  # also when interrupted
                found.close()
                grading.close()
        graded = _graded(handed_in, known, errors)
        with _writing(grades):
            feedback.write(graded, grades)
    return graded


def _refuse_overlap(submissions: Path, grades: Path) -> None:
    read, written = submissions.resolve(), grades.resolve()
    if read.is_relative_to(written) or written.is_relative_to(read):
        raise DataError(
            f"submissions in {submissions}, grades in {grades}: two folders, neither in the other, expected."
        )


def _matched(submission: Submission) -> Graded:
    """A file, not graded yet, with the exercise it is, or the problem with it."""
    exercise, problem = "", submission.problem
    if not problem:
        try:
            exercise = exercise_of(submission.content)
        except DataError as error:
            problem = str(error)
    return Graded(submission.student, submission.id, submission.file, exercise, problem=problem)


def _say(text: str) -> None:
    print(f"tinylab: {text}", file=sys.stderr)


# Doing the work


def _here(work: Callable, todo: Mapping[Notebook, Mapping], jobs: int) -> Found:
    """Each notebook and what came of it, as they come."""
    _say(_described({isolation()}))
    others = set(psutil.Process().children(recursive=True))
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(cluster.attempt, work, settings): key for key, settings in todo.items()}
        try:
            for future in progress(as_completed(futures), "grading", len(futures)):
                yield futures[future], *future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(future.done() for future in futures):  # interrupted: end what they have started
                for process in set(psutil.Process().children(recursive=True)) - others:
                    with contextlib.suppress(psutil.Error):
                        process.kill()
                time.sleep(0.05)


def _there(work: Callable, todo: Mapping[Notebook, Mapping], scheduler: str) -> Found:
    """The same on a cluster. Its workers keep what they need for an exercise until they end."""
    with cluster.connected(scheduler) as client:
        own = _rules()
        for address, rules in client.run(_rules).items():
            if rules != own:
                raise TinylabError(f"worker {address} has other exercises or checks: those of here expected.")
        _say(_described(set(client.run(isolation).values())))
        yield from cluster.results(client, work, todo, "grading")


def _described(walls: set[Isolation]) -> str:
    """What a system does between a notebook and the rest, one sentence for each kind of system."""
    said = []
    for wall in sorted(walls, key=lambda wall: wall.name):
        lacks = f"code in a notebook can {'; '.join(wall.lacks)}" if wall.lacks else "nothing is lacking"
        said.append(f"Isolation of notebooks: {wall.name}; {lacks}.")
    return " ".join(said)


# What came of it


def _graded(
    handed_in: Sequence[tuple[Graded, bytes]],
    reports: Mapping[Notebook, Report],
    errors: Mapping[Notebook, str],
) -> list[Graded]:
    """Everything that was handed in, with its report or the problem with it."""
    students: dict[Notebook, set[str]] = {}
    for one, content in handed_in:
        students.setdefault((content, one.exercise), set()).add(one.student)
    graded = []
    for one, content in handed_in:
        notebook = content, one.exercise
        if notebook in reports:
            one = replace(one, report=_shared(reports[notebook], students[notebook] - {one.student}))
        elif notebook in errors:
            one = replace(one, problem=f"It could not be graded ({errors[notebook]}). Grade once more.")
        graded.append(one)
    return _counted(sorted(graded, key=lambda one: (one.student, one.exercise, one.file)))


def _shared(report: Report, others: set[str]) -> Report:
    """With a remark if others handed in the same file; not if it is the exercise as handed out."""
    if not others or all(task.outcome is Outcome.NOT_ATTEMPTED for task in report.tasks):
        return report
    remark = f"{SAME_FILE} {', '.join(sorted(others))}"
    return replace(report, remarks=(*report.remarks, remark))


def _counted(graded: Sequence[Graded]) -> list[Graded]:
    """Let the best of a student's notebooks of an exercise count, and the first of those."""
    best: dict[tuple[str, str], Graded] = {}
    for one in sorted(graded, key=lambda one: -one.report.points if one.report else 1):
        best.setdefault((one.student, one.exercise), one)
    return [replace(one, counts=not one.exercise or one is best[one.student, one.exercise]) for one in graded]


# The store


def _rules() -> dict[str, str]:
    """The exercises and their checks as they are at present: a digest by the exercise's name."""
    contents = {path.stem: path.read_bytes() for path in sorted(CHECKS.glob("*.py"))}
    digests = {}
    for name, exercise in exercises().items():
        digest = hashlib.sha256(exercise.path.read_bytes())
        for module, content in contents.items():
            if module[-2:] == name[:2] or not module[-2:].isdigit():  # its own, or for all
                digest.update(hashlib.sha256(content).digest())
        digests[name] = digest.hexdigest()
    return digests


class _Store:
    """A class's seed, and a file a result, named by all that decides it."""

    def __init__(self, grades: Path, limits: Limits):
        self.seed = _seed(grades / "grading.json")
        self._results = grades / "results"
        self._rules, self._limits = _rules(), asdict(limits)
        with _writing(grades):
            self._results.mkdir(exist_ok=True)
            for path in self._results.glob(f".*{whole_file.UNFINISHED}"):  # of a run that was killed
                path.unlink()

    def read(self, notebook: Notebook) -> Report | None:
        """The result; None if there is none, or a damaged one."""
        path = self._path(notebook)
        try:
            digest, _, text = path.read_bytes().partition(b"\n")
            return Report.from_json(text.decode()) if digest == _digest(path, text) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, notebook: Notebook, report: Report) -> None:
        """Keep a result."""
        path, text = self._path(notebook), report.to_json().encode()
        with _writing(self._results):
            whole_file.replace(path, _digest(path, text) + b"\n" + text)

    def _path(self, notebook: Notebook) -> Path:
        content, exercise = notebook
        decisive = [FORMAT, tinylab.__version__, self.seed, exercise, self._rules[exercise], self._limits]
        return self._results / hashlib.sha256(json.dumps(decisive).encode() + b"\n" + content).hexdigest()


def _digest(path: Path, text: bytes) -> bytes:
    """What tells a whole result in its own place from anything else."""
    return hashlib.sha256(path.name.encode() + text).hexdigest().encode()


def _seed(path: Path) -> int:
    """Of this class's random cases: drawn once, and kept."""
    if not path.exists():
        drawn = {"tinylab_grading": FORMAT, "seed": secrets.randbits(SEED_BITS)}
        with _writing(path.parent):
            whole_file.replace(path, json.dumps(drawn).encode())
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(path.read_bytes())
        if kept["tinylab_grading"] == FORMAT and type(kept["seed"]) is int and kept["seed"] >= 0:
            return kept["seed"]
    raise DataError(
        f"{path}: damaged, or of another version of tinylab. Put a copy of it back, or name a new folder for "
        "the grades: there, everything is graded anew, on other random cases."
    )


@contextlib.contextmanager
def _locked(grades: Path) -> Iterator[None]:
    """The folder of the grades, made if need be, for this run alone."""
    lock = filelock.FileLock(grades / "grading.lock", timeout=0)
    with _writing(grades):
        grades.mkdir(parents=True, exist_ok=True)
        begun = {"grading.lock", f".grading.json{whole_file.UNFINISHED}"}
        others = sorted({path.name for path in grades.iterdir()} - begun)
        if others and "grading.json" not in others:
            raise DataError(f"{grades} holds {others[0]}, but no grading.json: name a new folder for grades.")
        try:
            lock.acquire()
        except filelock.Timeout:
            raise DataError(f"{grades}: another run is grading into it; wait until it has ended.") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _writing(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{place} cannot be written ({error}). Make room there, or name another place; what is graded is "
            "kept."
        ) from error
