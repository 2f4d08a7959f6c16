"""The files of deploy/: what each of them starts is started, asked as it says, and ended as it says."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNITS = ("hello.service", "hello.socket")

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def may_isolate():
    """Whether processes may be had in namespaces of their own."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None or shutil.which("ip") is None:
        return False
    command = ["unshare", "--pid", "--net", "--mount-proc", "--fork", "true"]
    return not subprocess.run(command, capture_output=True, check=False).returncode


needs_namespaces = pytest.mark.skipif(not may_isolate(), reason="namespaces are for root, and need util-linux")


def until(fact):
    """Ask until a fact is there, two hundred times at most: asking takes time itself."""
    for _ in range(200):
        if fact():
            return
    raise AssertionError("it never came about")


@pytest.fixture
def program(tmp_path):
    """A directory with the service, and the environment in which ``penstock`` is the program under test."""
    place = tmp_path / "bin"
    place.mkdir()
    script = place / "penstock"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m penstock "$@"\n')
    script.chmod(0o755)
    shutil.copy(DEPLOY / "hello.py", tmp_path)
    kept = {name: os.environ[name] for name in ("PYTHONPATH", "LANG") if name in os.environ}
    return tmp_path, kept | {"PATH": f"{place}:{os.environ['PATH']}", "PENSTOCK_CONTROL": str(tmp_path / "c.sock")}


@pytest.fixture
def units(program):
    """The units as they are, but for where the program is."""
    directory, _ = program
    for name in UNITS:
        text = (DEPLOY / "systemd" / name).read_text()
        (directory / name).write_text(text.replace("/opt/hello/bin/penstock", str(directory / "bin" / "penstock")))
    return directory


def setting(text, name):
    """The value of one setting of a unit."""
    return re.search(rf"^{name}=(.*)$", text, re.MULTILINE)[1]


def instruction(name):
    """The arguments of an instruction of the Dockerfile that is written as a list."""
    lines = (DEPLOY / "docker" / "Dockerfile").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{name} ")]
    return json.loads(line[line.index("[") :])


# -- systemd -----------------------------------------------------------------------------------------------------------


@needs_systemd
def test_systemd_finds_no_fault_with_the_units(units):
    """Nor with what they name."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(units / name) for name in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr)


@needs_systemd
def test_the_service_may_do_little_else_than_serve(units):
    """By systemd's own measure, of which 10 is everything."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", str(units / UNITS[0])],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd looks at running units alone")

    assert 0 == done.returncode, done.stdout


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="systemd is not installed")
def test_the_service_takes_the_socket_of_its_unit_over(units, program, reserve):
    """By the name that the socket unit gives it: started as the service unit says, reloaded and ended likewise."""
    directory, env = program
    service, where = ((units / name).read_text() for name in UNITS)
    port = reserve()
    env |= {"RUNTIME_DIRECTORY": str(directory)}
    start, reload = (setting(service, name) for name in ("ExecStart", "ExecReload"))
    process = subprocess.Popen(
        [
            *(
                "systemd-socket-activate",
                f"--listen=127.0.0.1:{port}",
                f"--fdname={setting(where, 'FileDescriptorName')}",
            ),
            *("-E", "PATH", "-E", "RUNTIME_DIRECTORY", "-E", "PYTHONPATH", "-E", "LANG"),
            *start.replace("${RUNTIME_DIRECTORY}", str(directory)).split(),
        ],
        cwd=directory,
        env=env,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process, contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        assert "Listening on" in process.stderr.readline()
        with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:  # the program is started for it
            peer.sendall(b"hello\n")
            assert b"HELLO\n" == peer.recv(100)
            command = reload.replace("${RUNTIME_DIRECTORY}", str(directory)).split()
            done = subprocess.run(command, env=env, cwd=directory, capture_output=True, text=True, check=False)
            assert (0, "reloaded: nothing has changed\n") == (done.returncode, done.stdout)
            process.terminate()
            assert b"" == peer.recv(100)
        process.stderr.read()
        assert 0 == process.wait(20)


# -- a container -------------------------------------------------------------------------------------------------------


class Container:
    """A program as process 1, with a network of its own. Of /proc it sees what a unit with ProcSubset=pid sees."""

    def __init__(self, command, directory, env):
        inner = 'ip link set lo up && mount -t proc -o subset=pid proc /proc && exec "$@"'
        self.directory, self.env = directory, env
        self.process = subprocess.Popen(
            ["unshare", "--pid", "--net", "--mount-proc", "--fork", "--kill-child", "sh", "-c", inner, "sh", *command],
            cwd=directory,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    @property
    def first(self):
        """Its process 1, by the number that it has outside."""
        outer = self.process.pid
        return int(Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0])

    def run(self, command):
        """Run a command in it; return its status and what it printed."""
        done = subprocess.run(
            ["nsenter", "--net", "--target", str(self.first), "--", *command],
            cwd=self.directory,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode, done.stdout

    def ask(self, command):
        """Ask its control socket."""
        return json.loads(self.run(["penstock", "ctl", command, "--json"])[1])

    def end(self):
        """Kill it, if it has not ended."""
        self.process.kill()
        self.process.wait(20)
        self.process.stdout.close()


@pytest.fixture
def contain(program):
    """A function that starts a command as process 1, and returns once it serves."""
    with contextlib.ExitStack() as stack:

        def start(command):
            container = Container([*command, "--print-ready"], *program)
            stack.callback(container.end)
            assert "ready" == json.loads(container.process.stdout.readline())["event"]
            return container

        yield start


@needs_namespaces
def test_the_images_command_serves_as_process_one_and_is_found_healthy(contain):
    """SIGTERM, which Docker sends process 1, drains it: status 0."""
    container = contain(instruction("CMD"))
    assert (0, "PING\n") == container.run(instruction("HEALTHCHECK"))
    os.kill(container.first, signal.SIGTERM)

    assert 0 == container.process.wait(20)


WAITS = """
import asyncio
import penstock

@penstock.on_message(codec="lines")
async def wait(message):
    await asyncio.Event().wait()
"""


@needs_namespaces
def test_process_one_passes_on_signals_and_a_status(contain, program):
    """SIGHUP reloads, and ends nothing. A second SIGTERM cuts what is left: 7."""
    (program[0] / "waits.py").write_text(WAITS)
    container = contain(["penstock", "serve", "waits.py", "--bind", "tcp://127.0.0.1:9000"])
    os.kill(container.first, signal.SIGHUP)
    peer = ["penstock", "connect", "tcp://127.0.0.1:9000", "--codec", "lines"]
    with subprocess.Popen(
        ["nsenter", "--net", "--target", str(container.first), "--", *peer],
        cwd=container.directory,
        env=container.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as held:
        held.stdin.write(b"hello\n")
        held.stdin.flush()
        until(lambda: container.ask("connections")["total"])
        os.kill(container.first, signal.SIGTERM)
        until(lambda: container.ask("status")["state"] == "draining")
        os.kill(container.first, signal.SIGTERM)

        assert 7 == container.process.wait(20)


ORPHANS = """
import glob, subprocess
import penstock

def state(name):
    try:
        with open(name) as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:  # it has ended meanwhile
        return ""

@penstock.on_message(codec="lines")
def leave(message):
    if message == b"leave":  # a process whose parent ends first
        subprocess.run(["sh", "-c", "true &"])
    return b"%d" % [state(name) for name in glob.glob("/proc/[0-9]*/stat")].count("Z")
"""


@needs_namespaces
def test_process_one_reaps_what_others_leave(contain, program):
    """A handler's programs leave processes behind, whose parent is then process 1."""
    (program[0] / "orphans.py").write_text(ORPHANS)
    container = contain(["penstock", "serve", "orphans.py", "--bind", "tcp://127.0.0.1:9000"])
    ask = ["penstock", "send", "tcp://127.0.0.1:9000", "--codec", "lines"]
    assert 0 == container.run([*ask, *["leave"] * 10])[0]
    until(lambda: container.run([*ask, "count"]) == (0, "0\n"))
    os.kill(container.first, signal.SIGTERM)

    assert 0 == container.process.wait(20)


def test_the_image_is_built_of_files_that_are_there():
    """And that the build is allowed to see."""
    text = (DEPLOY / "docker" / "Dockerfile").read_text()
    seen = [
        line[1:] for line in (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"
    ]
    copied = [source for source in re.findall(r"^COPY (\S+) ", text, re.MULTILINE) if not source.startswith("--")]

    assert [] == [name for name in seen if not (ROOT / name).exists()]
    assert all(source == "." or source in seen for source in copied)


@pytest.mark.full
@pytest.mark.timeout(900)  # it compiles the native engine
def test_the_images_steps_make_a_program(tmp_path):
    """The steps of the Dockerfile, but for the packages of Debian and the user, in a directory instead of an image."""
    text = (DEPLOY / "docker" / "Dockerfile").read_text()
    rules = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    source = tmp_path / "src"
    for name in (line[1:] for line in rules if line.startswith("!")):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    steps = [
        step
        for step in re.findall(r"^RUN (.*)$", text, re.MULTILINE)
        if "apt-get" not in step and "useradd" not in step
    ]
    assert 1 == len(steps)
    step = steps[0].replace("/src", str(source)).replace("/opt/hello", str(tmp_path / "hello"))
    subprocess.run(
        ["sh", "-ec", step], check=True, capture_output=True, env=os.environ | {"PATH": path_with_python(tmp_path)}
    )
    program = tmp_path / "hello" / "bin" / "penstock"
    done = subprocess.run(
        [program, "check", DEPLOY / "hello.py", *instruction("CMD")[3:]],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        text=True,
    )

    assert "ok: shout over lines on tcp://0.0.0.0:9000\n" == done.stdout


def path_with_python(directory):
    """A PATH on which ``python`` is the one that runs the tests."""
    place = directory / "path"
    place.mkdir()
    (place / "python").symlink_to(sys.executable)
    return f"{place}:{os.environ['PATH']}"


# -- Kubernetes --------------------------------------------------------------------------------------------------------


def manifests():
    """What kubectl reads of the file."""
    command = [
        "kubectl",
        "label",
        "--local",
        "--overwrite",
        "-f",
        str(DEPLOY / "kubernetes" / "hello.yaml"),
        "-o",
        "json",
        "a=b",
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    decoder, found = json.JSONDecoder(), []
    while text.strip():
        value, end = decoder.raw_decode(text.lstrip())
        found.append(value)
        text = text.lstrip()[end:]
    return {each["kind"]: each for each in found}


@needs_kubectl
@needs_namespaces
def test_the_pods_probes_are_answered_and_its_prestop_drains(contain, program):
    """As the manifest says: the container's arguments, each probe's command, what is run before SIGTERM."""
    found = manifests()
    pod = found["Deployment"]["spec"]["template"]
    [container] = pod["spec"]["containers"]
    running = contain(container["args"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert (0, "PING\n") == running.run(container[probe]["exec"]["command"]), probe
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert (0, "draining 0 connections\n") == running.run([part.replace("sleep 5;", "") for part in command])
    assert 0 == running.process.wait(20)

    selector = found["Service"]["spec"]["selector"]
    assert selector.items() <= pod["metadata"]["labels"].items()
    drain_s = int(container["args"][container["args"].index("--timeout-drain") + 1].rstrip("s"))
    assert pod["spec"]["terminationGracePeriodSeconds"] > 5 + drain_s
