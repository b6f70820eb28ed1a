"""The reads through the public interfaces once everything has healed, which the checker compares with the rest."""

import functools
from collections.abc import Callable, Mapping, Sequence

from chaos.client import AnswerLost, GraphQLClient, NotSent
from chaos.documents import ask
from chaos.history import History, Notice, Stored
from chaos.subject import Subject
from cqrs.query.client import ReadClient
from cqrs.query.errors import ReadError
from protocol import cqrs_notice_pb2

# Commands or contacts asked about in one document.
_CHUNK = 100
# Chunks of commands that are asked of every gateway; each of the others is asked of one.
_FROM_EVERY_GATEWAY = 10


class FinalReads:
    """Fills in the parts of a history that are read at the end. A failed read is an overrun, since all is up."""

    def __init__(
        self, history: History, subject: Subject, process_of: Callable[[str], str], clock: Callable[[], float]
    ) -> None:
        self._history = history
        self._subject = subject
        self._process_of = process_of
        self._clock = clock

    async def read(self, gateways: Mapping[str, str], reader_address: str) -> None:
        try:
            await self._notices(reader_address)
        except ReadError as error:
            self._history.overruns.append(f"the notices cannot be read at the end, all being up: {error}")
        clients = {name: GraphQLClient(address, deadline=10.0) for name, address in gateways.items()}
        try:
            await self._commands(clients)
            await self._contacts(next(iter(clients.values())))
        except (NotSent, AnswerLost) as error:
            self._history.overruns.append(f"a gateway did not answer at the end, all being up: {error}")
        finally:
            for client in clients.values():
                client.close()

    async def _notices(self, reader_address: str) -> None:
        async with ReadClient(reader_address) as reader:
            position = "0"
            while (batch := await reader.read_notices(position, 1000)).notice:
                self._history.notices += [(notice.number, self._notice(notice)) for notice in batch.notice]
                position = batch.notice[-1].position

    async def _commands(self, clients: Mapping[str, GraphQLClient]) -> None:
        gateways = list(clients)
        command_ids = [command.command_id for command in self._history.commands if command.command_id]
        for turn, chunk in enumerate(_chunks(command_ids)):
            for gateway in gateways if turn < _FROM_EVERY_GATEWAY else [gateways[turn % len(gateways)]]:
                samples = await ask(clients[gateway], chunk, functools.partial(self._process_of, gateway), self._clock)
                self._history.outcomes += samples
                if len(samples) < len(chunk):
                    self._history.overruns.append(
                        f"{gateway} answered {len(samples)} of {len(chunk)} commands at the end"
                    )

    async def _contacts(self, client: GraphQLClient) -> None:
        history, one = self._history, self._subject.query
        shown = f"{{ id name: {self._subject.name} version }}"
        contact_ids = {notice.contact_id for _, notice in history.notices}
        contact_ids |= {command.contact_id for command in history.commands if command.contact_id}
        for chunk in _chunks(sorted(contact_ids)):
            parameters = ", ".join(f"$i{index}: String!" for index in range(len(chunk)))
            fields = " ".join(f"i{index}: {one}(id: $i{index}) {shown}" for index in range(len(chunk)))
            variables = {f"i{index}": contact_id for index, contact_id in enumerate(chunk)}
            answer = await client.execute(f"query ({parameters}) {{ {fields} }}", variables)
            for error in answer.get("errors") or ():
                if error.get("extensions", {}).get("code") != "NOT_FOUND":
                    history.overruns.append(f"a contact cannot be read at the end: {error}")
            history.stored += [_stored(contact) for contact in (answer.get("data") or {}).values() if contact]
        answer = await client.execute(f"{{ listContacts: {self._subject.list}(count: 1000) {shown} }}")
        history.listed = [_stored(contact) for contact in (answer.get("data") or {}).get("listContacts") or ()]

    def _notice(self, message: cqrs_notice_pb2.Notice) -> Notice:
        # Empty where there is nothing to show.
        name, version = self._subject.parse(message.state)
        return Notice(
            position=message.position,
            kind=cqrs_notice_pb2.Notice.Kind.Name(message.kind),
            command_id=message.command_id,
            contact_id=message.aggregate_id,
            name=name,
            version=version,
            reason=cqrs_notice_pb2.Notice.Reason.Name(message.reason) if message.reason else "",
        )


def _stored(contact: Mapping[str, str | int]) -> Stored:
    return Stored(str(contact["id"]), str(contact["name"]), int(contact["version"]))


def _chunks(items: Sequence[str]) -> list[Sequence[str]]:
    return [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
