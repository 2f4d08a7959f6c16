"""Extension types made by hand, or not at all: whatever Python code does with one, the interpreter stays."""

import contextlib
import importlib
import mmap
import os
import pkgutil
import signal
import subprocess
import sys
import warnings
from importlib.machinery import ExtensionFileLoader
from pathlib import Path

import pytest

import penstock

ARGUMENTS = ((), (None,), (b"x",), (0,), (2**40,), (-1, None), (None, None), (0, 0, 0), (None, None, None))

# Those that code in Python may make: the law's, which engines in Python inherit; what the engines' and the load's
# Python parts make, and can only make whole; and what a reader and a writer of streams are, classes of Python.
LAW = {"Levels", "Durations", "Rare", "Silence", "Closing", "Deadlines", "Waiting", "Output", "Law"}
STREAMS = {"StreamFeed", "StreamSink"}
CALLED = {"Poller", "Alarm", "Contexts", "NativeSelector", "DatagramState", *STREAMS}


def compiled_modules():
    """Import every compiled module of the package; what is left of sources that are gone is none of them."""
    for found in pkgutil.walk_packages(penstock.__path__, "penstock."):
        loader = found.module_finder.find_spec(found.name).loader
        if isinstance(loader, ExtensionFileLoader):
            directory, stem = Path(loader.path).parent, found.name.rpartition(".")[2]
            if (directory / f"{stem}.pyx").exists() or (directory / f"{stem}.pxd").exists():
                yield importlib.import_module(found.name)


def extension_types():
    """Yield every type that is made in C."""
    for module in compiled_modules():
        for kind in vars(module).values():
            is_static = isinstance(kind, type) and not kind.__flags__ & 1 << 9  # Py_TPFLAGS_HEAPTYPE
            if is_static and kind.__module__ == module.__name__:
                yield kind


def inherited(kind):
    """Return a type that inherits from it, and leaves its ``__init__`` out."""
    return type("Sub", (kind,), {"__init__": lambda self, *_: None})


# Every way to an object of a type. None of them is given anything.
WAYS = {
    "new": lambda kind: kind.__new__(kind),
    "new of object": object.__new__,
    "new of a base": lambda kind: kind.__mro__[-2].__new__(kind),
    "call": lambda kind: kind(),
    "subclass": lambda kind: inherited(kind)(),
    "new of a subclass": lambda kind: kind.__new__(inherited(kind)),
    "unpickled": lambda kind: __import__("copyreg").__newobj__(kind),
    "reduced": lambda kind: __import__("copyreg")._reconstructor(kind, object, None),
}


def made_by_hand(kind):
    """Return an object for each way that leads to one."""
    made = {}
    for name, make in WAYS.items():
        with contextlib.suppress(TypeError, AttributeError):
            made[name] = make(kind)
    return made


def use(thing, name):
    """Get, set and call one attribute, with all sorts of things."""
    for arguments in ARGUMENTS:
        with contextlib.suppress(BaseException):
            attribute = getattr(thing, name)
            setattr(thing, name, attribute)
        with contextlib.suppress(BaseException):
            getattr(thing, name)(*arguments)
        with contextlib.suppress(BaseException):
            getattr(type(thing), name)(*arguments)


def use_in_a_child(kind, way, names, begun):
    """Do that with a new object for each attribute, in a process of its own that notes with which it has begun.

    Returns:
        The signal that ended it, or 0.
    """
    child = os.fork()
    if child == 0:
        try:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            for name in names:
                begun[0] += 1
                signal.alarm(2)  # some wait
                use(WAYS[way](kind), name)
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def crashes(kind, way, names):
    """Yield each attribute whose use crashed a process, and the signal. Those after it have a process of their own."""
    with mmap.mmap(-1, mmap.PAGESIZE) as shared:
        begun = memoryview(shared).cast("Q")
        while names:
            begun[0] = 0
            number = use_in_a_child(kind, way, names, begun)
            if number and number != signal.SIGALRM:
                yield names[begun[0] - 1], number
            names = names[begun[0] :] if number else []
        begun.release()


def walk():
    """Print each attribute whose use ends the process."""
    warnings.simplefilter("ignore")
    tried = 0
    for kind in extension_types():
        for way in made_by_hand(kind):
            names = [*dir(kind), "__del__"]
            tried += len(names)
            for name, number in crashes(kind, way, names):
                print(f"{kind.__module__}.{kind.__name__}, made by {way}: {name}: {signal.Signals(number).name}")
    print("tried", tried > 500 or tried)


pytestmark = pytest.mark.skipif(not list(compiled_modules()), reason="nothing is compiled here")


def test_every_attribute_of_what_can_be_made_by_hand_leaves_the_interpreter_alive():
    """Of every extension type, every attribute: got, set, called with all sorts of things, in a process of its own."""
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, timeout=300, check=False)

    assert (0, "tried True\n", "") == (done.returncode, done.stdout, done.stderr)


def test_compiled_types_are_made_by_compiled_code():
    """Only the law's can be made bare, and those whose making leaves nothing to be done be called without arguments."""
    made = {kind.__name__ for kind in extension_types() if made_by_hand(kind)}

    assert LAW | CALLED == made


def test_a_compiled_type_cannot_be_inherited_from_unless_python_code_of_ours_does():
    """A subclass could leave out what makes its objects whole."""
    open_to_all = set()
    for kind in extension_types():
        try:
            inherited(kind)
        except TypeError:
            continue
        open_to_all.add(kind.__name__)

    assert LAW | {"DatagramState", *STREAMS} == open_to_all


if __name__ == "__main__":
    walk()
