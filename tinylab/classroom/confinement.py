"""A wall around a process, made of what Linux has: namespaces, resource limits, no capabilities.

Behind it there are no network, no other processes, and no files but those that are shown, read-only, and
a scratch folder in memory. Standard library only: it runs in a Python that has loaded nothing.

    python confinement.py ARGUMENTS COMMAND ...    # ARGUMENTS: those of `confine`, in JSON

See user_namespaces(7), pid_namespaces(7), mount_namespaces(7), pivot_root(2), prctl(2), capset(2).
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# From the kernel's headers: sched.h, mount.h, prctl.h, capability.h
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND = 1, 2, 4, 32, 4096
MS_REC, MS_PRIVATE, MNT_DETACH = 16384, 1 << 18, 2
MS_LOCKED = MS_NOSUID | MS_NODEV | 8 | 1024 | 2048  # with noexec, noatime, nodiratime
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
CAPABILITY_VERSION_3 = 0x20080522

LEARNER = 1000  # user and group behind the wall; whose they are before it does not matter there
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/sys/devices/system/cpu")
SETTINGS = ("alternatives", "fonts", "group", "ld.so.cache", "localtime", "nsswitch.conf", "passwd")
DEVICES = ("null", "zero", "full", "random", "urandom")
ROOM_FOR_PROCESSES = (
    320  # the highest process number behind the wall, on kernels that have one for each (6.14)
)

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def confine(shown: Sequence[str], hidden: Sequence[str], scratch: str, scratch_bytes: int) -> None:
    """Put the calling process, which must have one thread only, and all it starts, behind the wall.

    The caller returns from it in a new process, and ends when that one does; whatever that one may have
    started is killed then.

    Args:
        shown: folders and files to see there, besides the system's own: absolute paths.
        hidden: folders among the shown ones in whose place there is an empty one.
        scratch: path of the one folder that can be written to; empty, and the working directory.
        scratch_bytes: how much fits in there.

    Raises:
        OSError: this system does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    spaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
    _call("unshare", spaces)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{LEARNER} {user} 1")
    _write("/proc/self/gid_map", f"{LEARNER} {group} 1")
    _continue_as_child()  # the first process in its namespace: the kernel kills the others when it ends
    _call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)  # its memory can be measured
    _new_root([*SYSTEM, *(f"/etc/{name}" for name in SETTINGS), *shown], hidden, scratch, scratch_bytes)
    for limit, value in (("kernel/pid_max", ROOM_FOR_PROCESSES), ("user/max_user_namespaces", 0)):
        with contextlib.suppress(OSError):
            _write(f"/proc/sys/{limit}", str(value))
    _drop_capabilities()
    _continue_as_child()  # to a first process, no signal of its own namespace does anything


def limit(data: int, file: int | None = None) -> None:
    """Limit what this process and each that it starts may take, where the system can.

    Args:
        data: bytes of memory of its own.
        file: bytes of a file; None leaves it as it is, here and below.
    """
    import resource  # not there on Windows, where nothing is run

    # Not RLIMIT_NPROC: without a wall it counts whatever else the user runs.
    wanted = {"RLIMIT_DATA": data, "RLIMIT_FSIZE": file, "RLIMIT_CORE": 0}
    for name, value in wanted.items():
        if value is None:
            continue
        with contextlib.suppress(OSError, ValueError, AttributeError):
            hard = resource.getrlimit(getattr(resource, name))[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(getattr(resource, name), (value, value))


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends, where it can."""
    if _libc:
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def environment(scratch: str, python_path: str, more: Mapping[str, str]) -> dict[str, str]:
    """Of a process that is to know nothing about its user."""
    system = {name: os.environ[name] for name in ("SYSTEMROOT", "TZ") if name in os.environ}
    path = [str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]
    places = dict.fromkeys(("HOME", "TMPDIR", "TEMP", "TMP", "IPYTHONDIR", "MPLCONFIGDIR"), scratch)
    python = {"PYTHONPATH": python_path, "PYTHONDONTWRITEBYTECODE": "1"}
    return {**system, "PATH": os.pathsep.join(path), "LANG": "C.UTF-8", **places, **python, **more}


def _call(function: str, *arguments: object) -> None:
    if getattr(_libc, function)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _continue_as_child() -> None:
    """Go on in a new process; this one does nothing but wait for its end, and ends in the same way."""
    child = os.fork()
    if child == 0:
        die_with_parent()
        return
    os.closerange(0, 256)
    while True:  # a first process inherits the orphans of its namespace
        ended, status = os.wait()
        if ended == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0x7F)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    encoded = [text.encode() if text else None for text in (source, target, kind)]
    _call("mount", *encoded, ctypes.c_ulong(flags), options.encode() or None)


def _new_root(shown: Sequence[str], hidden: Sequence[str], scratch: str, scratch_bytes: int) -> None:
    """A root directory in which there is nothing but what is shown."""
    _mount("", "/", None, MS_REC | MS_PRIVATE)
    root = Path(scratch)  # any empty folder will do: it is hidden behind what is mounted on it
    _mount("tmpfs", scratch, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=16m")
    (root / "dev").mkdir()
    for name in DEVICES:
        (root / "dev" / name).touch()
        _mount(f"/dev/{name}", str(root / "dev" / name), None, MS_BIND)
    options = f"mode=700,size={scratch_bytes}"
    for folder in ("/tmp", "/dev/shm"):
        _mount("tmpfs", _made(root, folder), "tmpfs", MS_NOSUID | MS_NODEV, options)
    for path in filter(os.path.exists, shown):
        _show(path, root)
    for path in hidden:
        _mount("tmpfs", _made(root, path), "tmpfs", MS_NOSUID | MS_NODEV | MS_RDONLY)
    _mount("tmpfs", _made(root, scratch), "tmpfs", MS_NOSUID | MS_NODEV, options)
    _mount("proc", _made(root, "/proc"), "proc", MS_NOSUID | MS_NODEV)
    _call("pivot_root", scratch.encode(), _made(root, "/before").encode())
    os.chdir("/")
    _call("umount2", b"/before", MNT_DETACH)
    os.rmdir("/before")
    os.chdir(scratch)


def _made(root: Path, folder: str) -> str:
    """Where a folder is below a root, made if need be."""
    inside = root / folder[1:]
    inside.mkdir(parents=True, exist_ok=True)
    return str(inside)


def _show(path: str, root: Path) -> None:
    """Bind a file or folder, read-only, to the same place below a root; a link stays a link."""
    inside = root / path[1:]
    inside.parent.mkdir(parents=True, exist_ok=True)
    if os.path.islink(path):
        inside.symlink_to(os.readlink(path))
        return
    inside.mkdir(exist_ok=True) if os.path.isdir(path) else inside.touch()
    _mount(path, str(inside), None, MS_BIND | MS_REC)
    # flags that a mount has already are locked, and have to be named again
    flags = os.statvfs(inside).f_flag & MS_LOCKED
    _mount("", str(inside), None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | flags)


def _drop_capabilities() -> None:
    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("process", ctypes.c_int))

    none = (ctypes.c_uint32 * 6)()
    _call("capset", ctypes.byref(Header(CAPABILITY_VERSION_3, 0)), none)
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


if __name__ == "__main__":
    die_with_parent()
    confine(**json.loads(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
