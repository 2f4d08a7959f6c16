"""``--model process``, seen from outside: whose process has a connection, and what becomes of it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys

import pytest

from penstock.control.client import Control
from penstock.control.messages import Connections, Kick, Status

from ...workers.conftest import answer, ask, pid_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.mark.parametrize("handler", ["who", "later", "talk", "talk_later"])
def test_each_connection_has_a_process_forked_from_one_without_threads(serve, handler):
    """Every kind of handler. What a process is forked from runs nothing else, and the server is a third process."""
    served = serve(f"app:{handler}")
    peers = [served.connect() for _ in range(3)]
    pids = [pid_of(peer) for peer in peers]
    forked_from, _ = ask(peers[0], b"threads").split()

    assert 4 == len({served.process.pid, *pids})
    assert "1" == forked_from
    assert [f"{pid} again" for pid in pids] == [ask(peer, b"again") for peer in peers]
    for peer in peers:
        peer.close()
        served.said("closed: peer_closed")
    assert 0 == served.stop()
    assert "Traceback" not in served.rest()


@pytest.mark.parametrize("handler", ["Requests", "streams"])
def test_what_was_written_for_something_else_has_processes_too(serve, handler):
    """It knows where its connection came in; how many processes there may be can be said."""
    served = serve(f"app:{handler}", "--max-processes", "9")
    peers = [served.connect() for _ in range(2)]
    pids = [pid_of(peer) for peer in peers]

    assert 3 == len({served.process.pid, *pids})
    assert [f"{pid} {peer.getpeername()[1]}" for pid, peer in zip(pids, peers, strict=True)] == [
        ask(peer, b"port") for peer in peers
    ]
    for peer in peers:
        peer.close()
        served.said("closed: ")
    assert 0 == served.stop()
    assert "Traceback" not in served.rest()


@pytest.mark.parametrize("handler", ["who", "talk"])
def test_a_handler_that_crashes_takes_its_own_connection_with_it(serve, handler):
    """And gives its place back; one that raises is told of as ever, once."""
    served = serve(f"app:{handler}", "--max-processes", "3")
    beside, crashes, raises = (served.connect() for _ in range(3))
    pid, crashed = pid_of(beside), pid_of(crashes)
    crashes.sendall(b"crash\n")
    raises.sendall(b"raise\n")
    assert ["", ""] == [answer(peer) for peer in (crashes, raises)]
    assert f"process {crashed}, SIGSEGV" in served.said("ended by itself")
    for peer in (crashes, raises):
        peer.close()
    more = [served.connect() for _ in range(2)]

    assert f"{pid} still" == ask(beside, b"still")
    assert 2 == len({pid_of(peer) for peer in more} - {pid, crashed})
    for peer in (beside, *more):
        peer.close()
    assert 0 == served.stop()
    log = served.rest()
    assert 1 == log.count("handler failed: ValueError")
    assert 2 == log.count("closed: handler_error")


def test_no_more_processes_than_may_be_and_the_next_peer_waits_for_one(serve):
    """`--max-processes`: nobody is turned away. The gate refuses by its other limits before anything is forked."""
    served = serve("app:who", "--max-processes", "2")
    first, second = served.connect(), served.connect()
    pids = {pid_of(first), pid_of(second)}
    waits = served.connect()
    waits.sendall(b"waited\n")
    assert len(pids) == 2
    assert f"{pid_of(second)} still" == ask(second, b"still")
    first.close()

    assert answer(waits).endswith(" waited")
    for peer in (second, waits):
        peer.close()
    assert 0 == served.stop()


def test_limits_and_control_are_the_servers(serve, directory):
    """`--max-per-peer`; a connection is listed and kicked as everywhere. A timeout is that of the process."""
    served = serve("app:who", "--max-per-peer", "2", "--control", "c.sock", "--timeout-receive-idle", "1h")
    first, second = served.connect(), served.connect()
    assert pid_of(first) != pid_of(second)
    with pytest.raises(ConnectionResetError), served.connect() as third:
        third.sendall(b"a\n")
        third.recv(1) or third.recv(1)
    with Control(str(directory / "c.sock"), 20) as control:
        _, rows = control.ask(Connections())
        assert 2 == len(rows)
        assert {"kicked": 1} == control.ask(Kick(ids=[rows[0]["id"]]))[0]
        assert "" == answer(first)
        first.close()
        served.said("closed: ")
        assert 1 == len(control.ask(Connections())[1])
        assert 1 == control.ask(Status())[0]["services"]["who"]["messages_in"]
    second.close()
    assert 0 == served.stop()


def test_a_timeout_ends_a_connection_with_its_reason(serve):
    """As on every engine."""
    served = serve("app:who", "--timeout-idle", "300ms")
    with served.connect() as peer:
        assert "" == answer(peer)

    served.said("closed: idle_timeout")
    assert 0 == served.stop()


def test_what_was_received_is_answered_before_the_end_and_a_second_signal_ends_who_holds(serve):
    """SIGTERM reaches each process once: a signal to all of the group, as a terminal's, changes nothing."""
    served = serve("app:talk")
    with served.connect() as idle, served.connect() as held:
        assert ask(idle)
        held.sendall(b"hold\n")
        served.said("app-held")
        os.killpg(served.process.pid, signal.SIGINT)
        served.said("draining")
        assert "" == answer(idle)

        assert 7 == served.stop()
    assert "closed: stopped" in served.rest()
    assert [] == served.left()


@pytest.mark.parametrize("victim", ["server", "nursery"])
def test_whichever_process_is_killed_nothing_is_left(serve, victim):
    """Connections drain when what looks after them is gone."""
    served = serve("app:who")
    with served.connect() as peer:
        pid = pid_of(peer)
        os.kill(served.process.pid if victim == "server" else parent_of(pid), signal.SIGKILL)
        assert "" == answer(peer)

    assert (-signal.SIGKILL if victim == "server" else 1) == served.process.wait(40)
    served.rest()
    assert [] == served.left()


def test_a_nursery_that_is_killed_is_missed_while_a_connection_is_at_work(serve, directory):
    """What was received is answered. A peer that comes then is not left to wait, and the status says that it failed."""
    served = serve("app:patient")
    with served.connect() as peer, served.connect() as idle:
        pid = pid_of(peer)
        assert pid != pid_of(idle)
        peer.sendall(b"wait\n")
        served.said("app-waits")
        os.kill(parent_of(pid), signal.SIGKILL)
        served.said("is gone: the server ends")
        assert "" == answer(idle)
        (directory / "go").touch()

        assert [f"{pid} wait", ""] == [answer(peer), answer(peer)]
    assert 1 == served.process.wait(40)
    assert 2 == served.rest().count("closed: drained")
    assert [] == served.left()


def test_a_process_that_is_held_is_killed_when_its_nursery_is_gone(serve):
    """At the end of the drain, as ever: the server knows it by its number."""
    served = serve("app:who", "--timeout-drain", "200ms")
    with served.connect() as peer:
        nursery = parent_of(pid_of(peer))
        peer.sendall(b"hold\n")
        served.said("app-held")
        os.kill(nursery, signal.SIGKILL)

        assert 1 == served.process.wait(40)
    assert "closed: drain_timeout" in served.rest()
    assert [] == served.left()


def test_a_process_that_is_held_does_not_outlive_its_server_for_long(serve):
    """It does not hear that it is to end: it is killed after the drain's time."""
    served = serve("app:who", "--timeout-drain", "1s")
    with served.connect() as peer:
        peer.sendall(b"hold\n")
        served.said("app-held")
        served.process.kill()
        served.process.wait(40)
        served.rest()

    assert [] == served.left()


def test_code_that_starts_threads_is_imported_by_each_process(serve, directory):
    """Whatever is imported: what is forked has no thread, and nobody waits for a lock that one held."""
    (directory / "threaded.py").write_text(
        """
import logging, logging.handlers, os, queue, threading
import penstock
from app import threads

lines = queue.Queue()
handler = logging.handlers.QueueHandler(lines)
listener = logging.handlers.QueueListener(lines, logging.FileHandler("lines.log"))
listener.start()
logger = logging.getLogger("mine")
logger.addHandler(handler)
logger.setLevel("INFO")
logger.propagate = False
try:
    import numpy
except ImportError:
    numpy = None

@penstock.on_message(codec="lines")
def log(message):
    logger.info("said %s", message.decode())
    lines.join()
    total = 6 if numpy is None else int(numpy.ones((2, 3)).sum())
    return f"{threads(os.getppid())} {total}".encode()
"""
    )
    served = serve("threaded:log")

    assert {"1 6"} == {served.ask(b"%d" % number) for number in range(3)}
    assert {"said 0", "said 1", "said 2"} == {*(directory / "lines.log").read_text().split("\n")} - {""}
    assert 0 == served.stop()


def test_unix_sockets_are_served_and_a_handler_may_end_the_server(serve, tmp_path):
    """Streams and packets, beside TCP."""
    paths = [tmp_path / "stream", tmp_path / "packets"]
    served = serve("app:ends", bind=(f"unix:{paths[0]}", f"unix+seqpacket:{paths[1]}"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as packets, socket.socket(socket.AF_UNIX) as stream:
        stream.connect(str(paths[0]))
        packets.connect(str(paths[1]))
        packets.send(b"packet")

        assert packets.recv(100).endswith(b" packet")
        assert b"" == stream.recv(100)
    assert 0 == served.process.wait(40)
    served.rest()
    assert not any(path.exists() for path in paths)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("app:who", "--bind", "udp://127.0.0.1:0"), "datagrams have none"),
        (("app:who", "--proxy-from", "127.0.0.1"), "has no PROXY protocol"),
        (("app:who", "--engine", "native"), "leave --engine out"),
        (("app:app",), "process is for one service"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(launch, arguments, said):
    """At the start."""
    bind = () if "--bind" in arguments else ("tcp://127.0.0.1:0",)
    served = launch("--model", "process", *arguments, workers=None, bind=bind)

    assert 2 == served.process.wait(40)
    assert said in served.rest()


def test_workers_have_nurseries_of_their_own(serve):
    """Their limits are those of all."""
    served = serve("app:who", "--max-processes", "3", workers=2)
    of_workers = set().union(*map(sockets_of, served.children()))
    peers = [served.connect() for _ in range(3)]
    pids = {pid_of(peer) for peer in peers}
    assert 3 == len(pids)
    assert set() == of_workers & set().union(*map(sockets_of, pids))
    waits = served.connect()
    waits.sendall(b"waited\n")
    peers.pop().close()

    assert answer(waits).endswith(" waited")
    for peer in (waits, *peers):
        peer.close()
    assert 0 == served.stop()


def parent_of(pid):
    """Return the process from which another one was forked."""
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def sockets_of(pid):
    """Return the sockets that a process has open."""
    found = set()
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/{pid}/fd/{number}"))
    return {name for name in found if name.startswith("socket:")}


PROGRAM = """\
import json, logging, os, socket
import penstock
from app import who

logging.basicConfig(filename="program.log", level="INFO", format="%(message)s")
files = [open(f"file-{number}", "a", buffering=1) for number in range(8)]
listens = socket.create_server(("127.0.0.1", 0))
address = "tcp://127.0.0.1:%d" % listens.getsockname()[1]

@penstock.on_message(codec="lines")
def writes(message):
    logging.info("said %s", message.decode())
    for file in files:
        file.write("written\\n")
    return b"%d %s" % (os.getpid(), message)

raise SystemExit(
    penstock.run(
        writes, bind=f"fd://{listens.fileno()}", model="process", on_ready=lambda server: print(address, flush=True)
    )
)
"""


def test_a_program_serves_so_with_run_and_its_files_stay_its_files(directory):
    """It is forked before `penstock.run` begins a loop. What a handler writes goes where the program has opened it,
    and never to the peer. A socket that is listened on is the server's alone, whoever has made it."""
    (directory / "program.py").write_text(PROGRAM)
    process = subprocess.Popen([sys.executable, "program.py"], cwd=directory, stdout=subprocess.PIPE)
    with process:
        try:
            host, port = process.stdout.readline().decode().strip().removeprefix("tcp://").split(":")
            of_server = sockets_of(process.pid)
            with socket.create_connection((host, int(port)), timeout=40) as peer:
                pid = pid_of(peer)
                shared = of_server & sockets_of(pid)
                assert f"{pid} again" == ask(peer, b"again")
            process.terminate()
            assert 0 == process.wait(40)
        finally:
            process.kill()

    assert process.pid != pid
    assert set() == shared
    assert ["written\n" * 2] * 8 == [(directory / f"file-{number}").read_text() for number in range(8)]
    assert ["said hello", "said again"] == [
        line for line in (directory / "program.log").read_text().split("\n") if line.startswith("said ")
    ]
