"""Clients that change shared contacts through all gateways, and record all commands with their answers."""

import asyncio
import contextlib
import itertools
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chaos.client import AnswerLost, GraphQLClient, NotSent
from chaos.documents import ask, cancel, errors_by_field, mutation, read_after, record_answer
from chaos.history import Attempt, Command, CommandKind, History, Read
from chaos.overdue import Overdue
from chaos.subject import Subject
from protocol.ids import aggregate_id_of, new_command_id


class Load:
    """Sends about `rate` commands a second in all, from `clients` clients, until `stop`.

    process_of: the name and number of the process that answers at a gateway. clock: seconds since the start.
    """

    # Contacts in use at a time, the first of them most.
    HOT = 40

    def __init__(
        self,
        history: History,
        overdue: Overdue,
        gateways: Mapping[str, str],
        subject: Subject,
        *,
        rate: float,
        delay: float,
        clock: Callable[[], float],
        process_of: Callable[[str], str],
        dice: random.Random,
        clients: int = 12,
    ) -> None:
        self.versions: dict[str, int] = {}
        self.accepted = 0
        self._history = history
        self._overdue = overdue
        self._gateways = gateways
        self._subject = subject
        self._rate = rate
        self._delay = delay
        self._clock = clock
        self._process_of = process_of
        self._dice = dice
        self._clients = clients
        self._contacts: deque[str] = deque(maxlen=self.HOT)
        self._recent: deque[str] = deque(maxlen=200)
        self._numbers = itertools.count()
        self._documents = itertools.count(1)
        self._turn = 0.0
        self._stopping = asyncio.Event()
        self._another = asyncio.Event()

    async def run(self) -> None:
        """Ends once it is stopped and no answer is outstanding."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._clients):
                group.create_task(self._client(), name=f"client {number}")

    def stop(self) -> None:
        """Sends nothing new; commands with lost answers are still sent again."""
        self._stopping.set()

    async def wait_accepted(self, count: int, patience: float = 30.0) -> None:
        """Returns once so many commands were accepted. Raises TimeoutError when for so many seconds none was."""
        while (before := self.accepted) < count:
            self._another.clear()
            async with asyncio.timeout(patience):
                await self._another.wait()
            assert self.accepted > before

    def on_version(self, contact_id: str, version: int) -> None:
        """A notice gave the version of a contact, which later commands may expect."""
        self.versions[contact_id] = version

    async def _client(self) -> None:
        clients = {name: GraphQLClient(address) for name, address in self._gateways.items()}
        try:
            while await self._wait_turn(commands := self._draft()):
                await self._send(clients, commands)
                await self._send_again(clients, commands)
                if self._dice.random() < 0.08:
                    await self._cancel(clients, self._dice.choice(commands))
                if self._dice.random() < 0.15:
                    await self._sample(clients)
                if self._dice.random() < 0.05:
                    await self._read_after(clients, self._dice.choice(commands))
        finally:
            for client in clients.values():
                client.close()

    async def _wait_turn(self, commands: Sequence[Command]) -> bool:
        """Waits until this many commands may be sent; False once stopped. A missed turn is not made up for."""
        now = self._clock()
        self._turn = max(self._turn, now) + len(commands) / self._rate
        try:
            async with asyncio.timeout(self._turn - now):
                await self._stopping.wait()
        except TimeoutError:
            return True
        return False

    def _draft(self) -> list[Command]:
        """One to six commands, mostly one; an update may follow the add of its contact in one document."""
        dice = self._dice
        document = next(self._documents)
        commands: list[Command] = []
        for index in range(dice.randint(2, 6) if dice.random() < 0.15 else 1):
            number = next(self._numbers)
            added = [c.contact_id for c in commands if c.kind == "ADD" and c.contact_id]
            kind: CommandKind = "ADD"
            if self._contacts or added:
                (kind,) = dice.choices(("ADD", "UPDATE", "DELETE"), (15, 75, 10))
            own_id = dice.random() < 0.5
            command_id = new_command_id() if own_id else ""
            if kind == "ADD":
                contact_id = aggregate_id_of(command_id) if own_id else ""
            else:
                contact_id = dice.choice(added) if added and dice.random() < 0.7 else self._some_contact(added)
            expected = None
            if kind != "ADD" and dice.random() < 0.2:
                expected = self.versions.get(contact_id)
            name = "" if kind == "DELETE" else f"name {number}"
            command = Command(number, kind, contact_id, name, command_id, own_id, expected, document, index)
            commands.append(command)
        self._history.commands += commands
        return commands

    def _some_contact(self, added: Sequence[str]) -> str:
        """One of the contacts in use, the newest most often."""
        contacts = [*self._contacts, *added]
        return contacts[-1 - min(int(self._dice.expovariate(0.15)), len(contacts) - 1)]

    async def _send(self, clients: Mapping[str, GraphQLClient], commands: Sequence[Command]) -> None:
        """One document with all of them, to some gateway."""
        gateway = self._dice.choice(list(clients))
        attempts = [Attempt(gateway, self._clock()) for _ in commands]
        for command, attempt in zip(commands, attempts, strict=True):
            command.attempts.append(attempt)
        query, variables = mutation(self._subject, commands)
        try:
            answer = await clients[gateway].execute(query, variables)
        except (NotSent, AnswerLost) as error:
            for attempt in attempts:
                attempt.answer = "unreached" if isinstance(error, NotSent) else "lost"
                attempt.message = str(error)
            return
        now = self._clock()
        data, errors = answer.get("data") or {}, errors_by_field(answer)
        for index, (command, attempt) in enumerate(zip(commands, attempts, strict=True)):
            record_answer(attempt, now, data.get(f"m{index}"), errors.get(f"m{index}") or errors.get(""))
            if attempt.answer == "queued":
                self._accept(command, attempt, data[f"m{index}"])

    def _accept(self, command: Command, attempt: Attempt, answer: Mapping[str, Any]) -> None:
        first = not any(other.answer == "queued" for other in command.attempts if other is not attempt)
        # With an own id both are known already; the checker sees a difference.
        command.command_id = command.command_id or attempt.command_id
        command.contact_id = command.contact_id or attempt.contact_id
        if command.kind == "ADD" and first:
            self._contacts.append(command.contact_id)
        # A few are used after their deletion.
        if command.kind == "DELETE" and command.contact_id in self._contacts and self._dice.random() < 0.9:
            self._contacts.remove(command.contact_id)
        if first:
            self.accepted += 1
            self._another.set()
            self._recent.append(command.command_id)
        self._overdue.accept(command.command_id, answer["takesEffectInMs"] / 1000)

    async def _send_again(self, clients: Mapping[str, GraphQLClient], commands: Sequence[Command]) -> None:
        """Sends commands with an own id until they are answered, in order; some once more although they were."""
        for command in commands:
            if not command.own_id:
                continue
            if command.attempts[-1].answer == "queued" and self._dice.random() < 0.03:
                await self._send(clients, [command])
            ends = self._clock() + 30.0
            while command.attempts[-1].answer in ("lost", "unreached") and self._clock() < ends:
                await asyncio.sleep(self._dice.uniform(0.02, 0.2))
                await self._send(clients, [command])

    async def _cancel(self, clients: Mapping[str, GraphQLClient], command: Command) -> None:
        """Cancels an accepted command, about as late as possible, through some gateway."""
        if not command.command_id or command.verdict != "accepted":
            return
        await asyncio.sleep(self._dice.uniform(0, self._delay * 1.1))
        gateway = self._dice.choice(list(clients))
        attempt = Attempt(gateway, self._clock())
        command.cancels.append(attempt)
        try:
            answer = await clients[gateway].execute(cancel(self._subject), {"id": command.command_id})
        except (NotSent, AnswerLost) as error:
            attempt.answer = "unreached" if isinstance(error, NotSent) else "lost"
            attempt.message = str(error)
            return
        errors = errors_by_field(answer)
        cancelled = (answer.get("data") or {}).get("cancelCommand")
        record_answer(attempt, self._clock(), cancelled, errors.get("cancelCommand") or errors.get(""))

    async def _read_after(self, clients: Mapping[str, GraphQLClient], command: Command) -> None:
        """Reads a contact as it is after a command, through some gateway."""
        if command.verdict != "accepted":
            return
        gateway, sent_at = self._dice.choice(list(clients)), self._clock()
        try:
            answer = await clients[gateway].execute(
                read_after(self._subject), {"id": command.contact_id, "after": command.command_id}
            )
        except (NotSent, AnswerLost):
            return  # there will be other reads
        contact = (answer.get("data") or {}).get("contact")
        code = next((error["extensions"].get("code") for error in errors_by_field(answer).values()), "")
        # Any other error, a timeout say, tells nothing about the contact.
        if contact or code == "NOT_FOUND":
            version = contact["version"] if contact else 0
            self._history.reads.append(Read(command.contact_id, command.command_id, gateway, sent_at, version))

    async def _sample(self, clients: Mapping[str, GraphQLClient]) -> None:
        """Asks some gateway for the states of some recent commands."""
        gateway = self._dice.choice(list(clients))
        command_ids = self._dice.sample(self._recent, min(len(self._recent), 10))
        if command_ids:
            # There will be other samples.
            with contextlib.suppress(NotSent, AnswerLost):
                self._history.samples += await ask(
                    clients[gateway], command_ids, lambda: self._process_of(gateway), self._clock
                )
