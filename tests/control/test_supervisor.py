"""What a supervisor answers for its workers: asked together, put in one order, added up, kept for those to come."""

import asyncio
import json
from types import SimpleNamespace

import msgspec
import pytest

from penstock.control import supervisor as module
from penstock.control.messages import Connections, Drain, Kick, Limits, LogLevel, Reload, Row, Scale, Stacks, Status
from penstock.control.messages import Workers as WorkersRequest
from penstock.control.supervisor import SupervisorControl
from penstock.errors import ConfigurationError
from penstock.workers.messages import Answered
from penstock.workers.process import State


class Worker:
    """A worker that answers at once, or never."""

    def __init__(self, pid, answer=None, state=State.SERVING, generation=0):
        self.pid, self.state, self.generation = pid, state, generation
        self.answers = answer
        self.asked = []

    def send(self, message):
        request = json.loads(message.request)
        self.asked.append(request)
        if self.answers is not None:
            result, rows, error = self.answers(request)
            rows = [msgspec.to_builtins(row) for row in rows]
            answer = Answered(number=message.number, pid=self.pid, result=result, rows=rows, error=error)
            asyncio.get_running_loop().call_soon(self.heard, answer)


class Supervisor:
    """Some workers, and what it was told."""

    addresses = ("tcp://127.0.0.1:9000",)
    ready = SimpleNamespace(name="echo")
    is_ending = False
    wanted = 2

    def __init__(self, *workers):
        self.processes = list(workers)
        self.told = []

    @property
    def workers(self):
        return []

    def drain(self, pid):
        self.told.append(("drain", pid))
        return pid == 1

    def begin_drain(self):
        self.told.append("drain")

    def scale(self, count):
        self.told.append(("scale", count))

    async def reloaded(self):
        return "2 workers of generation 1 serve"


def controlled(*workers):
    supervisor = Supervisor(*workers)
    levels = []
    control = SupervisorControl(supervisor, lambda level: levels.append(level) or True)
    for worker in workers:
        worker.heard = supervisor.on_answer
    return control, supervisor, levels


def row(number, worker):
    return Row(number, worker, "echo", "a", "b", "open", 0.0, 0.0, number, 0, 0, 0, 0, None)


def facts(count):
    return {
        "services": {
            "echo": {"connections": count, "max_connections": 9, "refused": {"limit": count}, "addresses": ["x"]},
        }
    }


async def test_the_services_of_workers_are_added_up():
    """Counts are sums; a limit is the same of all."""
    workers = [Worker(1, lambda _: (facts(1), (), None)), Worker(2, lambda _: (facts(2), (), None))]
    control, _, _ = controlled(*workers)
    found, _ = await control.answer(Status())

    assert (3, 2, "serving", []) == (found["connections"], found["workers"], found["state"], found["unanswered"])
    assert {"connections": 3, "max_connections": 9, "refused": {"limit": 3}, "addresses": ["x"]} == (
        found["services"]["echo"]
    )


async def test_rows_of_all_workers_are_in_one_order_and_cut_once():
    """As if one process had them."""
    workers = [
        Worker(1, lambda _: ({"total": 5}, [row(1, 1), row(4, 1)], None)),
        Worker(2, lambda _: ({"total": 2}, [row(2, 2), row(3, 2)], None)),
    ]
    control, _, _ = controlled(*workers)
    found, rows = await control.answer(Connections(sort="messages_in", descending=True, limit=3))

    assert (7, [(4, 1), (3, 2), (2, 2)]) == (found["total"], [(each.id, each.worker) for each in rows])


async def test_only_the_worker_that_is_meant_is_asked():
    """And none that has not begun."""
    workers = [Worker(pid, lambda _: ({"kicked": 1}, (), None)) for pid in (1, 2)]
    starting = Worker(3, state=State.STARTING)
    control, _, _ = controlled(*workers, starting)
    found, _ = await control.answer(Kick(ids=[7], worker=2))

    assert {"kicked": 1, "unanswered": []} == found
    assert [0, 1, 0] == [len(worker.asked) for worker in (*workers, starting)]


async def test_a_number_alone_is_nobodys():
    """Each worker counts its own connections."""
    control, _, _ = controlled(Worker(1))
    with pytest.raises(ConfigurationError, match="say which worker"):
        await control.answer(Kick(ids=[7]))


async def test_a_worker_that_is_held_keeps_no_answer_from_coming(monkeypatch):
    """It is named."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    control, _, _ = controlled(Worker(1, lambda _: ({"work": ["a"], "threads": []}, (), None)), Worker(2))
    found, _ = await control.answer(Stacks())

    assert {"worker 2 does not answer: its loop is held", "worker 1: a"} == set(found["work"])
    await asyncio.sleep(0)
    assert {} == control._asked


async def test_what_one_worker_refuses_is_refused():
    """With its reason."""
    control, _, _ = controlled(Worker(1, lambda _: (None, (), "there is no service 'x'")))
    with pytest.raises(ConfigurationError, match="there is no service"):
        await control.answer(Limits(service="x", set={"max_per_peer": "3"}))


class Configured(Worker):
    """A worker that has limits and a level, from its configuration, and goes by what it is told."""

    def __init__(self, pid, heard=None, level="info", generation=0, **limits):
        super().__init__(pid, self.change, generation=generation)
        self.limits = {"max_per_peer": "none", "accept_rate": "none"} | limits
        self.level = level
        self.heard = heard

    def change(self, request):
        if request["do"] == "limits":
            self.limits |= request["set"]
            return {"echo": dict(self.limits)}, (), None
        self.level = request["level"] or self.level
        return {"level": self.level}, (), None


async def begun(control, supervisor, worker):
    """Have a worker serve, and wait until it was told what there is to tell."""
    supervisor.processes = [worker]
    supervisor.on_serving(worker)
    await control._all_set_up()
    await control.answer(Limits())


async def test_what_was_set_holds_for_workers_that_come_later():
    """Limits, one over the other, and the level of the log."""
    control, supervisor, levels = controlled(Configured(1))
    await control.answer(Limits(set={"max_per_peer": "3", "accept_rate": "5/s"}))
    await control.answer(Limits(set={"max_per_peer": "4"}))
    await control.answer(LogLevel(level="debug"))
    later = Configured(2, supervisor.on_answer)
    await begun(control, supervisor, later)

    assert ["debug"] == levels
    assert ({"max_per_peer": "4", "accept_rate": "5/s"}, "debug") == (later.limits, later.level)
    assert await control.answer(Limits()) == ({"echo": later.limits}, ())


async def test_what_the_configuration_has_changed_since_is_as_it_says():
    """As in one process. What it says again as it did leaves alone what was set; what it has changed is its own."""
    control, supervisor, _ = controlled(Configured(1, max_per_peer="5"))
    await control.answer(Limits(set={"max_per_peer": "3", "accept_rate": "5/s"}))
    await control.answer(LogLevel(level="debug"))
    found = []
    for pid, (configured, level) in enumerate([("5", "info"), ("6", "error"), ("5", "info")], 2):
        worker = Configured(pid, supervisor.on_answer, generation=pid, max_per_peer=configured, level=level)
        await begun(control, supervisor, worker)
        found.append((worker.limits["max_per_peer"], worker.limits["accept_rate"], worker.level))

    assert [("3", "5/s", "debug"), ("6", "5/s", "error"), ("5", "5/s", "info")] == found


async def test_what_is_set_is_compared_with_the_newest_configuration():
    """While a roll is under way workers have two; nothing is kept for a worker that ends before it has answered."""
    control, supervisor, _ = controlled(
        Configured(1, max_per_peer="5"), Configured(2, generation=1, max_per_peer="6"), Configured(3, max_per_peer="5")
    )
    await control.answer(Limits(set={"max_per_peer": "3"}))
    later = Configured(4, supervisor.on_answer, generation=1, max_per_peer="6")
    await begun(control, supervisor, later)

    assert "3" == later.limits["max_per_peer"]


async def test_a_worker_that_ends_before_it_has_answered_is_waited_for_no_longer(monkeypatch):
    """Nothing is kept of it."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    control, supervisor, _ = controlled()
    gone = Worker(1, state=State.ENDED)
    supervisor.on_serving(gone)
    while control._set_up:
        await asyncio.sleep(0)

    assert {} == control._asked


async def test_what_is_the_supervisors_is_done_by_it():
    """No worker is asked."""
    worker = Worker(1)
    control, supervisor, _ = controlled(worker)
    answers = [
        (await control.answer(request))[0]
        for request in (Drain(worker=1), Drain(), Scale(workers=2), Reload(), WorkersRequest())
    ]

    assert [("drain", 1), "drain", ("scale", 2)] == supervisor.told
    assert {"reloaded": "2 workers of generation 1 serve"} == answers[3]
    assert [] == worker.asked
    with pytest.raises(ConfigurationError, match="there is no worker 5 that serves"):
        await control.answer(Drain(worker=5))
