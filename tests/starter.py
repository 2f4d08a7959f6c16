"""Processes of ``penstock`` that need not import it: each is the fork of one that has, and did nothing else.

Most of what such a process costs is importing: 0.2 s, against 20 ms that a message and its reply take. What a test is
told of it (exit status, output, signals) is as of a process that began with nothing. How it begins is what others test:
they start Python.
"""

import ctypes
import importlib
import json
import os
import socket
import subprocess
import sys

PROGRAM = (sys.executable, "-m", "penstock")
STANDARD_STREAMS = 3

# So that a child of a child is waited for here, once that has ended: prctl(2).
PR_SET_CHILD_SUBREAPER = 36
_prctl = ctypes.CDLL(None, use_errno=True).prctl


class Starter:
    """Starts processes.

    Args:
        environ: The environment that Python begins in. A process may have another; what Python itself reads of it is
            read here.
    """

    def __init__(self, environ):
        self._control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with inner:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(inner.fileno())], env=environ, pass_fds=[inner.fileno()]
            )

    def close(self):
        """Start no more; those that were started go on."""
        self._control.close()
        self._process.wait(10)

    def fork(self, asked, descriptors):
        """Start a process with three descriptors; return its number. It is a child of this process."""
        _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            socket.send_fds(self._control, [json.dumps(asked).encode()], descriptors)
            return int(self._control.recv(64))
        finally:
            _prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class Started(subprocess.Popen):
    """As ``Popen([*PROGRAM, …])``, started by a `Starter`.

    Args:
        starter: It.
        arguments: Those of the program.
        cwd, env, stdin, stdout, stderr, text, start_new_session: As of `subprocess.Popen`. A new session whose standard
            input is a terminal has that as its own.
    """

    def __init__(self, starter, arguments, **options):
        self._starter = starter
        super().__init__([*PROGRAM, *arguments], **options)

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
            "arguments": list(args[len(PROGRAM) :]),
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
    """Make this process what ``python -m penstock`` would be."""
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
    sys.path[0] = asked["cwd"]
    sys.argv = [importlib.import_module("penstock.__main__").__file__, *asked["arguments"]]
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
    sys.exit(program.main())


if __name__ == "__main__":
    main()
