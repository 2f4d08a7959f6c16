"""Processes of ``penstock`` that need not import it: each is the fork of one that has, and did nothing else.

Most of what such a process costs is importing: 0.2 s, against 20 ms that a message and its reply take. What a test is
told of it (exit status, output, signals) is as of a process that began with nothing. How it begins is what others test:
they start Python.
"""

import contextlib
import ctypes
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys

PATIENCE_S = 40  # a program imports for half a second of CPU: several seconds beside other load
PROGRAM = (sys.executable, "-m", "penstock")
OF_PYTHON = ("PYTHON", "LANG", "LC_")
STANDARD_STREAMS = 3

# So that a child of a child is waited for here, once that has ended: prctl(2).
PR_SET_CHILD_SUBREAPER = 36
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def clean_environment():
    """Return an environment without anything of the machine's that could matter."""
    kept = ("PATH", "SYSTEMROOT", "PYTHONPATH", "HOME")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"TERM": "xterm", "LANG": "C.UTF-8"}


class Starter:
    """Starts processes, each in an environment of its own. What Python reads of one it has read before: `fits`."""

    def __init__(self):
        self._begin()

    def _begin(self):
        self._control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with inner:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(inner.fileno())], env=clean_environment(), pass_fds=[inner.fileno()]
            )

    @staticmethod
    def fits(command, environ):
        """Whether a command is the program, or a script in Python, and Python reads nothing new in an environment."""
        clean = clean_environment()
        return (command[:3] == PROGRAM or (command[0] == sys.executable and command[1].endswith(".py"))) and not any(
            environ.get(name) != clean.get(name) for name in {*environ, *clean} if name.startswith(OF_PYTHON)
        )

    def close(self):
        """Start no more; those that were started go on."""
        self._control.close()
        self._process.wait(PATIENCE_S)

    def fork(self, asked, descriptors):
        """Start a process with three descriptors; return its number. It is a child of this process."""
        _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            for _ in range(2):
                with contextlib.suppress(OSError):
                    socket.send_fds(self._control, [json.dumps(asked).encode()], descriptors)
                    if number := self._control.recv(64):
                        return int(number)
                # One that was ended, by the machine say, is not the end of all tests that come after.
                self._control.close()
                print(f"what starts processes has ended: {self._process.wait(PATIENCE_S)}", file=sys.stderr)
                self._begin()
            raise ChildProcessError("no process can be started")
        finally:
            _prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class Started(subprocess.Popen):
    """As `subprocess.Popen`, started by a `Starter`.

    Args:
        starter: It.
        command: The program with its arguments, or Python with a script and its arguments.
        cwd, env, stdin, stdout, stderr, text, start_new_session: As of `subprocess.Popen`. A new session whose standard
            input is a terminal has that as its own.
    """

    def __init__(self, starter, command, **options):
        self._starter = starter
        super().__init__(command, **options)

    def _execute_child(
        self,
        args,
        executable,
        preexec_fn,
        close_fds,
        pass_fds,
        cwd,
        env,
        startupinfo,
        creationflags,
        shell,
        p2cread,
        p2cwrite,
        c2pread,
        c2pwrite,
        errread,
        errwrite,
        restore_signals,
        gid,
        gids,
        uid,
        umask,
        start_new_session,
        *_,
    ):
        assert (preexec_fn, tuple(pass_fds), shell) == (None, (), False), "start Python for that"
        asked = {
            "words": [str(word) for word in args[1:]],
            "cwd": os.fspath(cwd or os.getcwd()),
            "environ": dict(os.environ if env is None else env),
            "session": start_new_session,
        }
        descriptors = [fd if fd != -1 else standard for standard, fd in enumerate((p2cread, c2pwrite, errwrite))]
        try:
            self.pid = self._starter.fork(asked, descriptors)
            self._child_created = True
        finally:
            self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


def finish(process, sent=None, timeout=PATIENCE_S):
    """Have a process end, as `subprocess.run` does; return its exit status and what it wrote."""
    with process:
        try:
            out, err = process.communicate(sent, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


# -- in the process that has imported it -------------------------------------------------------------------------------


def serve(control):
    """Fork when asked; return what was asked for in the child that is to do it."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, 1 << 20, STANDARD_STREAMS)
        if not data:
            os._exit(0)
        told, tell = os.pipe()
        between = os.fork()
        if between == 0:
            pid = os.fork()
            if pid == 0:
                os.close(told)
                os.close(tell)
                control.close()
                return json.loads(data), descriptors
            os.write(tell, str(pid).encode())
            os._exit(0)
        os.waitpid(between, 0)  # then the other one's parent is who asked
        control.send(os.read(told, 64))
        for fd in (told, tell, *descriptors):
            os.close(fd)


def become(asked, descriptors):
    """Make this process what Python would be with these words."""
    for standard, fd in enumerate(descriptors):
        os.dup2(fd, standard)
        os.close(fd)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environ"])
    if asked["session"]:
        os.setsid()
        if os.isatty(0):
            import fcntl
            import termios

            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    script, *arguments = asked["words"]
    if script == "-m":
        script, *arguments = importlib.import_module("penstock.__main__").__file__, *arguments[1:]
        sys.path[0] = asked["cwd"]
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(script))
    sys.argv = [script, *arguments]
    # As Python opens them: standard error is written line by line, whatever it is.
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)


def main():
    import gc

    from penstock.cli import main as program

    for module, _ in program._COMMANDS.values():
        importlib.import_module(f"penstock.cli.{module.partition(':')[0]}")
    for name in ("client.connect", "engines.pure.server", "engines.native.engine", "config.services", "cli.prompt"):
        try:
            importlib.import_module(f"penstock.{name}")
        except ImportError:  # no engine was compiled, or a package is missing
            continue
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        asked, descriptors = serve(control)
    become(asked, descriptors)
    if asked["words"][0] == "-m":
        sys.exit(program.main())
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
