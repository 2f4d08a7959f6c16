"""What a supervisor decides, with workers that do nothing but say what a test has them say."""

import asyncio
import logging
import os
import signal
import sys
import threading

import pytest

from penstock.config import WorkersConfig
from penstock.errors import ConfigurationError, ExitStatus, StoppedError
from penstock.workers import late, restarts, staff
from penstock.workers.plan import WorkersPlan
from penstock.workers.process import State
from penstock.workers.supervisor import StartError, Supervisor

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="workers are a thing of Unix")

# Whose behaviour is the line of a file that has the number of its slot and generation, or `*`.
WORKER = r"""
import json, os, signal, socket, sys, time
sock = socket.socket(fileno=int(os.environ["PENSTOCK_WORKER_CHANNEL"]))
file = sock.makefile("rb")
begin = json.loads(file.readline() or sys.exit(0))
say = lambda **message: sock.sendall(json.dumps(message).encode() + b"\n")
for line in open(sys.argv[1]):
    key, _, code = line.partition(": ")
    if key in (f"{begin['slot']}.{begin['generation']}", "*"):
        break
def ready():
    say(say="ready", name="fake", addresses=["tcp://127.0.0.1:9"], drain_s=30)
def serve():
    ready()
    for line in file:
        if json.loads(line)["say"] in ("drain", "stop"):
            sys.exit(0)
def after(path):
    while not os.path.exists(path):
        time.sleep(0.01)
exec(code)
"""


class Script:
    """What workers do from now on, by slot and generation."""

    def __init__(self, path):
        self.path = path
        self.set("*: serve()")

    def set(self, *lines):
        """Say what those do that begin from now on; of several lines for one, the first holds."""
        self.path.write_text("\n".join(lines))


@pytest.fixture
def script(tmp_path):
    """What the workers of `make` do."""
    (tmp_path / "worker.py").write_text(WORKER)
    return Script(tmp_path / "script")


@pytest.fixture
async def make(script, tmp_path):
    """A function that makes a supervisor; at the end it has none of its workers any more."""
    made = []

    def supervise(count=2, reread=None, **config):
        plan = WorkersPlan(WorkersConfig(count=count, spare=False, **config))
        command = [sys.executable, "-S", "-E", str(tmp_path / "worker.py"), str(script.path)]
        made.append(Supervisor(command, plan, reread=reread or (lambda: plan)))
        return made[-1]

    yield supervise
    for each in made:
        each.begin_stop()
        await each.wait_stopped()


@pytest.fixture
def said(caplog):
    """A function that waits until the log says something, and returns that line."""
    caplog.set_level(logging.DEBUG, "penstock")

    async def wait(text):
        while True:
            for record in caplog.records:
                if text in record.getMessage():
                    return record.getMessage()
            await asyncio.sleep(0.01)

    return wait


async def until(fact):
    """Wait until a fact holds that the loop is not told of."""
    while not fact():
        await asyncio.sleep(0.01)


async def test_all_serve_before_the_start_is_over_and_all_end(make):
    """The order is that of the slots, and the status says that all went well."""
    supervised = make(3)
    await supervised.start()

    assert [(1, 0, State.SERVING), (2, 0, State.SERVING), (3, 0, State.SERVING)] == [
        (each.slot, each.generation, each.state) for each in supervised.workers
    ]
    assert ["tcp://127.0.0.1:9"] == supervised.addresses
    supervised.begin_drain()
    await supervised.wait_stopped()
    assert ExitStatus.OK is supervised.exit_status
    assert [] == supervised.workers


async def test_a_first_worker_that_does_not_start_is_the_only_one(make, script, caplog):
    """Its status is that of the start, and nobody else's words are."""
    script.set("1.0: sys.exit(4)", "*: serve()")

    with pytest.raises(StartError) as caught:
        await make(3).start()
    assert ExitStatus.BIND is caught.value.exit_status
    assert [] == caplog.records


async def test_one_of_the_others_that_does_not_start_ends_those_that_did(make, script):
    """The start is whole, or there is none."""
    script.set("2.0: sys.exit(3)", "*: serve()")
    supervised = make(2)

    with pytest.raises(StartError) as caught:
        await supervised.start()
    assert ExitStatus.APPLICATION is caught.value.exit_status
    assert [] == supervised.workers


async def test_a_drain_before_all_serve_ends_the_start(make, script):
    """The one that is starting is told by a signal: it may not listen yet."""
    script.set("1.0: say(say='beat', connections=0, accepted=0, messages_in=0, messages_out=0); time.sleep(600)")
    supervised = make(2)
    start = asyncio.create_task(supervised.start())
    await until(lambda: supervised.workers and supervised.workers[0].silent_s < 600)
    supervised.begin_drain()

    with pytest.raises(StoppedError):
        await start
    assert [] == supervised.workers


async def test_a_crash_loop_ends_in_giving_up(make, script, said, monkeypatch):
    """Once no other worker serves; until then each next one is tried later."""
    monkeypatch.setattr(restarts, "FIRST_S", 0.0)
    supervised = make(1)
    await supervised.start()
    script.set("*: os._exit(9)")
    os.kill(supervised.workers[0].pid, signal.SIGKILL)
    await supervised.wait_stopped()

    assert ExitStatus.FAILED is supervised.exit_status
    assert "SIGKILL" in await said("worker 1 ended by itself")
    assert "status 9" in await said("worker 1 did not start")
    assert "giving up: 10 workers in a row" in await said("giving up")


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGKILL, [0, 0, 0]), (signal.SIGSEGV, [1, 2, 3])])
async def test_an_end_by_sigkill_is_no_crash(make, number, expected, monkeypatch):
    """Whoever sent it meant this worker, not its code. A fault of the code ends it by another signal."""
    monkeypatch.setattr(restarts, "FIRST_S", 0.0)
    supervised = make(1)
    await supervised.start()
    (slot,) = supervised._crew.slots
    failures = []
    for _ in expected:
        killed = slot.current
        os.kill(killed.pid, number)
        await until(lambda killed=killed: slot.current not in (None, killed))
        failures.append(slot.restarts.failures)

    assert expected == failures
    supervised.begin_drain()
    await supervised.wait_stopped()


async def test_a_crash_loop_of_one_worker_leaves_the_others(make, script, said, monkeypatch):
    """Who serves, serves on: the slot is tried again and again."""
    monkeypatch.setattr(restarts, "FIRST_S", 0.0)
    supervised = make(2)
    await supervised.start()
    script.set("2.0: os._exit(9)", "*: serve()")
    first, second = supervised.workers
    os.kill(second.pid, signal.SIGKILL)
    await said("worker 2 did not start")
    script.set("*: serve()")
    await until(lambda: [State.SERVING] * 2 == [each.state for each in supervised.workers])

    assert first.pid == supervised.workers[0].pid


async def test_a_roll_begins_with_one_and_goes_back_if_that_does_not_start(make, script, said):
    """Nothing has changed then; the next roll may be better."""
    supervised = make(2)
    await supervised.start()
    before = [each.pid for each in supervised.workers]
    script.set("1.1: sys.exit(3)", "*: serve()")
    supervised.reload()
    await said("the new code is not served: its first worker ended with status 3")
    assert (before, 0) == ([each.pid for each in supervised.workers], supervised.generation)

    script.set("*: serve()")
    supervised.reload()
    assert "2 workers of generation 1 serve" in await said("reloaded: ")
    await until(lambda: [1, 1] == [each.generation for each in supervised.workers])
    assert not set(before) & {each.pid for each in supervised.workers}


async def test_rolls_that_come_meanwhile_are_one_more(make, script, said):
    """Each is of the code as it was when the signal came, or newer."""
    supervised = make(1)
    await supervised.start()
    for _ in range(3):
        supervised.reload()
    await until(lambda: [2] == [each.generation for each in supervised.workers])
    await until(lambda: [State.SERVING] == [each.state for each in supervised.workers])

    assert 2 == supervised.generation


async def test_a_configuration_that_is_refused_starts_nobody(make, said):
    """It is told of in one line."""

    def refuse():
        raise ConfigurationError("no number", "workers")

    supervised = make(1, reread=refuse)
    await supervised.start()
    (before,) = supervised.workers
    supervised.reload()
    assert "no number" in await said("the workers stay as they are")

    assert before.pid == supervised.workers[0].pid


async def test_a_roll_may_have_more_workers(make, said):
    """Those there were are replaced as well."""
    more = WorkersPlan(WorkersConfig(count=3))
    supervised = make(2, reread=lambda: more)
    await supervised.start()
    supervised.reload()
    assert "3 workers of generation 1" in await said("reloaded: ")

    assert 3 == supervised.wanted


async def test_there_may_be_fewer_and_more_again(make, script):
    """The last ones go. A number that is refused changes nothing."""
    supervised = make(3)
    await supervised.start()
    first = supervised.workers[0]
    supervised.scale(1)
    await until(lambda: [first.pid] == [each.pid for each in supervised.workers])
    with pytest.raises(ConfigurationError):
        supervised.scale(0)
    assert 1 == supervised.wanted
    supervised.scale(2)
    await until(lambda: [State.SERVING] * 2 == [each.state for each in supervised.workers])

    assert first.pid == supervised.workers[0].pid


async def test_a_worker_that_wants_to_go_serves_until_its_successor_does(make, script, said):
    """Too old, or too large."""
    script.set("1.0: ready(); say(say='leaving', why='age'); serve()")
    supervised = make(1)
    await supervised.start()
    first = supervised.workers[0]
    script.set("*: serve()")

    assert str(first.pid) in await said("is replaced for its age")
    await until(lambda: first.pid not in {each.pid for each in supervised.workers})
    assert [State.SERVING] == [each.state for each in supervised.workers]


async def test_those_that_say_nothing_or_do_not_end_are_killed(make, script, said, monkeypatch, tmp_path):
    """A worker that is silent, one that is not ready in time, one that does not stop."""
    for name in ("LOOK_S", "LAST_WORDS_S", "STOP_S"):
        monkeypatch.setattr(late, name, 0.05)
    monkeypatch.setattr(restarts, "FIRST_S", 0.0)
    script.set("1.0: ready(); signal.signal(signal.SIGQUIT, signal.SIG_IGN); time.sleep(600)")
    supervised = make(1, silence_s=0.3, start_s=60.0)
    await supervised.start()
    patient, impatient = (WorkersPlan(WorkersConfig(count=1, spare=False, start_s=start_s)) for start_s in (60.0, 0.05))
    (first,) = supervised.workers
    go = tmp_path / "go"
    script.set(f"*: after({str(go)!r}); ready(); signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)")
    assert str(first.pid) in await said("was held for")
    supervised._rolls.plan = impatient
    assert "is not ready in time" in await said("is not ready in time")

    supervised._rolls.plan = patient
    go.touch()
    await until(lambda: [State.SERVING] == [each.state for each in supervised.workers])
    supervised.begin_stop()
    assert "has not ended in time" in await said("has not ended in time")
    await supervised.wait_stopped()
    assert ExitStatus.DRAIN_TIMEOUT is supervised.exit_status


async def test_what_a_worker_says_that_is_no_message_ends_nothing(make, script, said):
    """Its channel is closed: it is silent from then on, and replaced for that."""
    script.set("1.0: ready(); sock.sendall(b'nonsense\\n'); serve()")
    supervised = make(1)
    await supervised.start()
    first = supervised.workers[0]
    script.set("*: serve()")
    await until(lambda: [first.pid] != [each.pid for each in supervised.workers] and supervised.workers)

    assert ExitStatus.OK is supervised.exit_status


async def test_a_worker_that_ended_during_a_roll_is_replaced_when_that_is_given_up(make, script, said, tmp_path):
    """By one of the code before: no slot stays empty."""
    supervised = make(1)
    await supervised.start()
    script.set(f"1.1: after({str(tmp_path / 'go')!r}); sys.exit(3)", "*: serve()")
    supervised.reload()
    await until(lambda: State.STARTING in {each.state for each in supervised.workers})
    os.kill(supervised.workers[0].pid, signal.SIGKILL)
    await said("worker 1 ended by itself")
    await until(lambda: supervised._crew.slots[0].retry is None)  # that came in vain: another one is starting
    (tmp_path / "go").touch()
    await said("the new code is not served: its first worker ended with status 3")
    await until(lambda: [(0, State.SERVING)] == [(each.generation, each.state) for each in supervised.workers])

    assert 0 == supervised.generation


async def test_a_worker_of_the_code_before_does_not_close_the_way_back(make, script, said, tmp_path):
    """It says nothing of the new code that it serves."""
    supervised = make(2)
    await supervised.start()
    script.set(
        f"2.0: after({str(tmp_path / 'second')!r}); serve()",
        f"1.1: after({str(tmp_path / 'first')!r}); sys.exit(3)",
        "*: serve()",
    )
    os.kill(supervised.workers[1].pid, signal.SIGKILL)
    await until(lambda: (2, State.STARTING) in {(each.slot, each.state) for each in supervised.workers})
    supervised.reload()
    await until(lambda: 1 in {each.generation for each in supervised.workers})
    (tmp_path / "second").touch()
    await said("worker 2 serves")
    await until(lambda: supervised._crew.slots[1].current is not None)
    (tmp_path / "first").touch()
    await said("the new code is not served: its first worker ended with status 3")

    assert [(1, 0, State.SERVING), (2, 0, State.SERVING)] == [
        (each.slot, each.generation, each.state) for each in supervised.workers
    ]


@pytest.mark.parametrize("problem", [FileNotFoundError(2, "gone"), KeyError("name")])
async def test_a_configuration_that_cannot_be_read_for_any_reason_ends_the_roll(make, said, problem):
    """Who asked is told, and the next roll is one like any other."""
    problems = [problem]

    def reread():
        if problems:
            raise problems.pop()
        return supervised.plan

    supervised = make(1, reread=reread)
    await supervised.start()
    with pytest.raises(ConfigurationError, match=type(problem).__name__):
        await supervised.reloaded()

    assert type(problem).__name__ in await said("the workers stay as they are")
    assert "1 worker of generation 1 serves" == await supervised.reloaded()


async def test_a_worker_that_cannot_be_started_ends_the_roll(make, said):
    """The interpreter is another one since, or is gone."""
    supervised = make(1)
    await supervised.start()
    command, supervised._staff._command = supervised._staff._command, ("/nonexistent/python",)
    with pytest.raises(ConfigurationError, match="cannot be started"):
        await supervised.reloaded()
    supervised._staff._command = command

    assert "1 worker of generation 1 serves" == await supervised.reloaded()


async def test_while_the_configuration_is_read_no_roll_is_over(make, said, caplog):
    """A worker that begins to serve meanwhile is of the code before."""
    read = threading.Event()

    def reread():
        assert read.wait(40)
        return supervised.plan

    supervised = make(1, reread=reread)
    await supervised.start()
    first = supervised.workers[0].pid
    supervised.reload()
    os.kill(first, signal.SIGKILL)
    await said("worker 1 ended by itself")
    await until(lambda: [(0, State.SERVING)] == [(each.generation, each.state) for each in supervised.workers])
    assert [] == [record for record in caplog.records if "reloaded" in record.getMessage()]
    read.set()

    assert "1 worker of generation 1 serves" in await said("reloaded: ")


async def test_a_roll_that_is_asked_for_while_a_bad_configuration_is_read_comes_after_it(make, said):
    """Who has mended the file meanwhile is not left with the workers of before."""
    read, reads = threading.Event(), []

    def reread():
        reads.append(len(reads))
        assert read.wait(40)
        if len(reads) == 1:
            raise ConfigurationError("no number", "workers")
        return supervised.plan

    supervised = make(1, reread=reread)
    await supervised.start()
    supervised.reload()
    await until(lambda: reads)
    supervised.reload()
    read.set()

    assert "1 worker of generation 1 serves" in await said("reloaded: ")


async def test_a_roll_that_is_asked_for_before_the_server_serves_comes_then(make, said):
    """What its workers were started with may have been read before."""
    supervised = make(1)
    supervised.reload()
    await supervised.start()

    assert "1 worker of generation 1 serves" in await said("reloaded: ")


async def test_who_asks_for_a_roll_while_the_server_drains_is_refused_also_where_one_was_under_way(make, script):
    """It does not wait for a roll that will not end."""
    supervised = make(1)
    await supervised.start()
    script.set("1.1: time.sleep(600)", "*: serve()")
    supervised.reload()
    await until(lambda: supervised.generation == 1)
    supervised.begin_drain()
    with pytest.raises(ConfigurationError, match="there is no roll now"):
        await supervised.reloaded()


@pytest.mark.parametrize("why", ["told", "memory"])
async def test_workers_that_leave_as_soon_as_they_serve_are_replaced_later_and_later(
    make, script, said, monkeypatch, why
):
    """Else there would be one process after the other, each with what it drains."""
    monkeypatch.setattr(restarts, "FIRST_S", 600.0)
    monkeypatch.setattr(restarts, "MOST_S", 600.0)
    script.set(f"1.0: ready(); say(say='leaving', why={why!r}); serve()")
    supervised = make(1)
    await supervised.start()
    await said("worker 1 is replaced")

    assert [1] == [each.slot for each in supervised.workers]
    assert supervised._crew.slots[0].retry is not None


async def test_told_to_end_before_the_start_it_does_not_begin(make):
    """A signal may come while the control socket is opened."""
    supervised = make(1)
    supervised.begin_drain()
    with pytest.raises(StoppedError):
        await supervised.start()

    assert [] == supervised.workers


async def test_workers_that_are_told_to_end_with_their_supervisor_are_not_replaced(
    make, script, monkeypatch, caplog, tmp_path
):
    """A signal for the whole group of processes, as of a terminal or a service manager: workers may hear it first."""
    caplog.set_level(logging.INFO, "penstock")
    monkeypatch.setattr(staff, "TOLD_S", 600.0)
    script.set(f"*: ready(); after({str(tmp_path / 'go')!r}); say(say='leaving', why='told')")
    supervised = make(2)
    await supervised.start()
    (tmp_path / "go").touch()
    await until(lambda: not supervised.workers)  # each has said so, and has ended
    supervised.begin_drain()
    await supervised.wait_stopped()

    assert ExitStatus.OK == supervised.exit_status
    assert [] == [text for text in caplog.messages if "replaced" in text or "ended by itself" in text]


async def test_a_worker_that_alone_was_told_to_end_is_replaced(make, script, said):
    """By whoever has its number: it says so, drains, and another one serves."""
    script.set('1.0: ready(); say(say="leaving", why="told")')
    supervised = make(1)
    await supervised.start()
    told = await said("is replaced, having been told to end")
    script.set("*: serve()")
    await until(lambda: [State.SERVING] == [each.state for each in supervised.workers])

    assert told.startswith("worker 1 is replaced")
