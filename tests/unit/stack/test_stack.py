"""The supervisor, with processes of a few lines in the place of services."""

import asyncio
import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from cqrs.transport.process import StartError
from cqrssite.stack.console import Console, wants_colour
from cqrssite.stack.supervisor import Service, Stack
from tests.support.polling import eventually

# Tells when it starts and when it is told to end, in a file that all share.
WITNESS = """
import os, signal, sys, time
name, folder = sys.argv[1:3]
def note(what):
    with open(f"{folder}/events", "a") as file:
        file.write(f"{name} {what}\\n")
def end(*_):
    note("ends")
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv else end)
print(f"{name} runs as {os.getpid()}", flush=True)
note("starts")
with open(f"{folder}/{name}.part", "w") as file:
    file.write(str(os.getpid()))
os.replace(f"{folder}/{name}.part", f"{folder}/{name}.pid")
while True:
    time.sleep(60)
"""


class Bench:
    """A folder where the processes leave their traces."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[tuple[str, str]] = []

    def service(self, name: str, *arguments: str, needs: Sequence[str] = ()) -> Service:
        command = [sys.executable, "-c", WITNESS, name, str(self.folder), *arguments]
        return Service(name, command, self.started(name), needs=needs)

    def started(self, name: str) -> Callable[[], Awaitable[bool]]:
        async def healthy() -> bool:
            return (self.folder / f"{name}.pid").exists()

        return healthy

    def pid(self, name: str) -> int:
        return int((self.folder / f"{name}.pid").read_text())

    @property
    def events(self) -> list[str]:
        path = self.folder / "events"
        return path.read_text().splitlines() if path.exists() else []

    @contextlib.asynccontextmanager
    async def run(self, *services: Service, grace: float = 10.0) -> AsyncIterator[Stack]:
        """A stack that is ready, and stopped at the end."""
        ready = asyncio.Event()
        stack = Stack(
            services, on_line=lambda *line: self.lines.append(line), on_ready=lambda seconds: ready.set(), grace=grace
        )
        running = asyncio.create_task(stack.run())
        try:
            waiting = asyncio.create_task(ready.wait())
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
            assert ready.is_set(), self.lines
            yield stack
        finally:
            stack.stop()
            await running


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie whose parent has not noticed yet is dead all the same.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def test_a_service_starts_when_what_it_needs_is_healthy_and_all_end_in_reverse_order(bench: Bench) -> None:
    first = bench.service("first")
    second = bench.service("second", needs=["first"])
    async with bench.run(second, first):
        assert bench.events == ["first starts", "second starts"]
    assert bench.events[2:] == ["first ends", "second ends"]
    assert not alive(bench.pid("first"))
    assert not alive(bench.pid("second"))


async def test_a_service_that_runs_elsewhere_is_waited_for_and_not_started(bench: Bench) -> None:
    elsewhere = Service("elsewhere", (), bench.started("elsewhere"))
    own = bench.service("own", needs=["elsewhere"])
    stack = Stack([elsewhere, own], on_line=lambda *line: None)
    running = asyncio.create_task(stack.run())
    await asyncio.sleep(0)
    assert bench.events == []
    (bench.folder / "elsewhere.pid").write_text("0")
    await eventually(lambda: bench.events == ["own starts"])
    stack.stop()
    await running


async def test_a_process_that_dies_is_reported_and_started_again(bench: Bench) -> None:
    async with bench.run(bench.service("mortal"), bench.service("other")):
        first = bench.pid("mortal")
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: bench.events.count("mortal starts") == 2)
        await eventually(lambda: bench.pid("mortal") != first)
    assert bench.events.count("other starts") == 1
    assert any(
        name == "mortal" and line.startswith("ended by SIGKILL; starting it again") for name, line in bench.lines
    )


async def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(bench: Bench) -> None:
    async with bench.run(bench.service("stubborn", "stubborn"), grace=0.1):
        pid = bench.pid("stubborn")
    assert not alive(pid)
    assert ("stubborn", "does not end within 0.1 s") in bench.lines
    assert ("stubborn", "ended by SIGKILL") in bench.lines


async def test_a_second_stop_kills_at_once(bench: Bench) -> None:
    async with bench.run(bench.service("stubborn", "stubborn"), grace=60) as stack:
        pid = bench.pid("stubborn")
        stack.stop()
        stack.stop()
    assert not alive(pid)


async def test_a_signal_stops_the_stack(bench: Bench) -> None:
    async with bench.run(bench.service("only")):
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: "only ends" in bench.events)


async def test_a_defect_in_a_health_check_ends_the_stack_and_leaves_nothing_running(bench: Bench) -> None:
    async def defect() -> bool:
        if (bench.folder / "only.pid").exists():
            raise ZeroDivisionError
        return False

    service = bench.service("only")
    stack = Stack([Service("only", service.command, defect)], on_line=lambda *line: None)
    with pytest.raises(ExceptionGroup):
        await stack.run()
    assert not alive(bench.pid("only"))


async def test_lines_are_passed_on_whole_and_endless_ones_in_pieces(bench: Bench) -> None:
    script = "import sys; print('one\\ntwo'); print('x' * 200_000); print('last', end=''); sys.stdout.flush(); input()"
    service = Service("talker", [sys.executable, "-c", script], bench.started("talker"))
    stack = Stack([service], on_line=lambda *line: bench.lines.append(line))
    running = asyncio.create_task(stack.run())
    await eventually(lambda: any("starting it again" in line for _, line in bench.lines))
    stack.stop()
    await running
    lines = [line for _, line in bench.lines]
    end = lines.index("last") if "last" in lines else -1
    assert lines[:2] == ["one", "two"]
    assert "".join(line for line in lines[2:end] if set(line) == {"x"}) == "x" * 200_000


async def test_taken_addresses_are_named_with_their_settings_in_one_line(bench: Bench) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        command = bench.service("only").command
        service = Service("only", command, bench.started("only"), bind, "CONTACTS_ONLY_BIND")
        with pytest.raises(StartError) as caught:
            await Stack([service], on_line=lambda *line: None).run()
    assert str(caught.value) == f"cannot listen on {bind} (Address already in use); CONTACTS_ONLY_BIND says where"
    assert bench.events == []


@pytest.mark.parametrize("ignored", [True, False])
async def test_a_hangup_ends_the_stack_unless_it_was_ignored_from_the_start(bench: Bench, ignored: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else lambda *_: None)
    try:
        async with bench.run(bench.service("only")):
            os.kill(os.getpid(), signal.SIGHUP)
            if ignored:
                # A stack that stops starts nothing again.
                os.kill(bench.pid("only"), signal.SIGKILL)
                await eventually(lambda: bench.events.count("only starts") == 2)
            else:
                await eventually(lambda: "only ends" in bench.events)
    finally:
        signal.signal(signal.SIGHUP, before)


INIT = """
import ctypes, os, signal, subprocess, sys, time
from cqrssite.stack.init import run_as_child_of_init
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
run_as_child_of_init(init_pid=os.getpid())
orphan = int(subprocess.check_output(["sh", "-c", "sleep 0 > /dev/null & echo $!"]))
deadline = time.monotonic() + 10
while os.path.exists(f"/proc/{orphan}"):
    assert time.monotonic() < deadline, "the orphan stays a zombie"
    time.sleep(0.01)
caught = []
signal.signal(signal.SIGINT, lambda *_: caught.append(1))
print("reaped", flush=True)
while not caught:
    time.sleep(0.01)
# For a second one, if it comes.
time.sleep(0.3)
sys.exit(len(caught))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes adopt orphans on Linux only")
def test_the_first_process_of_a_container_reaps_orphans_and_passes_each_signal_on_once() -> None:
    process = subprocess.Popen([sys.executable, "-c", INIT], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reaped\n"
        # As the terminal does at Ctrl-C: to its whole group.
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(10) == 1
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death is signalled on Linux only")
async def test_nothing_runs_on_when_the_stack_itself_is_killed(bench: Bench) -> None:
    script = f"""
import asyncio, sys
from cqrssite.stack.supervisor import Service, Stack
async def healthy(): return False
asyncio.run(Stack([Service("only", {list(bench.service("only", "stubborn").command)!r}, healthy)], on_line=print).run())
"""
    # Not awaited: it is killed, as a person would.
    stack = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)  # noqa: ASYNC220
    try:
        await eventually((bench.folder / "only.pid").exists)
    finally:
        stack.kill()
        stack.wait()
    await eventually(lambda: not Path(f"/proc/{bench.pid('only')}").exists())


def test_each_line_stands_behind_the_name_of_its_service() -> None:
    out = io.StringIO()
    console = Console(["broker", "gateway"], out, colour=False)
    console.write_line("broker", "listens")
    console.write_line("gateway", "listens")
    assert out.getvalue() == "broker  | listens\ngateway | listens\n"


def test_colour_is_for_terminals_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    assert wants_colour(terminal)
    assert not wants_colour(io.StringIO())
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert wants_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(terminal)
