"""The database service as a process of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from protocol.contact_pb2 import Contact
from protocol.contact_read_pb2 import ListContactsFilter
from protocol.contact_read_pb2_grpc import ContactReaderStub
from protocol.contact_write_pb2_grpc import ContactWriterStub
from protocol.cqrs_read_pb2 import WatchRequest
from protocol.cqrs_read_pb2_grpc import ReadServiceStub
from tests.support.envelopes import name_of

MANAGE = Path(__file__).resolve().parents[2] / "manage.py"


class RunDatabase:
    """`manage.py rundatabase` on a free port, in a folder of its own."""

    def __init__(self, var: Path, *arguments: str, bind: str = "127.0.0.1:0") -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(MANAGE), "rundatabase", "--bind", bind, *arguments],
            env=os.environ | {"CONTACTS_VAR": str(var)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def said(self) -> str:
        """The line it says when it serves."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def __enter__(self) -> "RunDatabase":
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.communicate()


def address_in(line: str) -> str:
    match = re.search(r" on (127\.0\.0\.1:\d+)", line)
    assert match, line
    return match[1]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[RunDatabase]:
    with RunDatabase(tmp_path, "--memory") as memory:
        yield memory


def test_a_memory_store_serves_all_and_says_that_it_is_one(memory: RunDatabase, tmp_path: Path):
    line = memory.said()
    assert re.fullmatch(
        r"serving cqrs.ReadService, cqrs.WriteService, protocol.ContactReader and protocol.ContactWriter "
        r"on 127.0.0.1:\d+, rows kept in memory\n",
        line,
    )
    with grpc.insecure_channel(address_in(line)) as channel:
        read, write = ContactReaderStub(channel), ContactWriterStub(channel)
        watching = ReadServiceStub(channel).WatchNotices(WatchRequest(after="0"))
        assert next(watching).memory
        write.AddContact(Contact(name="Ada"))
        batch = next(watching)
        assert batch.memory
        assert [name_of(notice.state) for notice in batch.notice] == ["Ada"]
        (ada,) = read.ListContacts(ListContactsFilter(count=10)).contact
        assert ada.name == "Ada"
    memory.process.send_signal(signal.SIGTERM)
    _, errors = memory.process.communicate(timeout=30)
    assert (memory.process.returncode, errors) == (0, "")
    assert not list(tmp_path.glob("contacts*")), "nothing of it is left"


def test_a_database_without_its_tables_is_one_line_that_says_what_to_do(tmp_path: Path):
    with RunDatabase(tmp_path) as database:
        _, errors = database.process.communicate(timeout=30)
    assert database.process.returncode == 1
    said = r"CommandError: the contacts database lacks migrations \(0001_initial.*\): "
    assert re.fullmatch(said + r"run `python manage.py migrate --database contacts`\n", errors)


def test_a_port_in_use_is_one_line(memory: RunDatabase, tmp_path: Path):
    address = address_in(memory.said())
    with RunDatabase(tmp_path, "--memory", bind=address) as second:
        _, errors = second.process.communicate(timeout=30)
    assert second.process.returncode == 1
    assert errors == (
        f"CommandError: cannot listen on {address} (Address already in use); CONTACTS_DATABASE_BIND says where\n"
    )


def test_half_a_memory_store_is_refused(tmp_path: Path):
    with RunDatabase(tmp_path, "--memory", "--serve", "read") as database:
        _, errors = database.process.communicate(timeout=30)
    assert database.process.returncode == 1
    assert errors == "CommandError: --memory keeps the rows in one process: it goes with --serve all alone\n"
