"""`manage.py replaycommands`: brings back what a database has lost that was reset or restored from a backup."""

import asyncio
import contextlib
from argparse import ArgumentParser
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.management.base import BaseCommand, CommandError

from cqrs import conf
from cqrs.gateway import REFUSALS
from cqrs.journal.errors import CommandError as WriteError
from cqrs.query.client import ReadClient
from cqrs.query.errors import ReadError
from cqrs.recovery.redrive import Redrive, Redriven
from cqrs.recovery.redrive_rows import Plan
from cqrs.ring import Ring
from cqrs.transport.link import Link
from cqrs.transport.mqtt import MqttLink
from cqrs.transport.process import StartError, run
from cqrssite.wiring import check_migrated, codec

# Ids of commands that are shown of those that did not go as they went at first.
SHOWN = 10


class Command(BaseCommand):
    help = (
        "After the database was reset or restored from a backup: replays what the journal says was applied"
        " since, in the order first applied, once; then what waits is sent. Broker, database, reader and writer have"
        " to run, or nothing of these with --ring. Interrupted, it can be begun again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--ring", action="store_true", help="replay in this process, where runring runs the ring")
        only = parser.add_mutually_exclusive_group()
        only.add_argument(
            "--dry-run", action="store_true", help="only tell what would be replayed, and what is missing"
        )
        only.add_argument("--none", action="store_true", help="replay nothing: go on without what was lost")

    def handle(self, *, dry_run: bool, none: bool, ring: bool, **_options: Any) -> None:
        try:
            run(self._run(dry_run, none, ring))
        except (StartError, ReadError, WriteError) as error:
            raise CommandError(str(error)) from error

    async def _run(self, dry_run: bool, none: bool, ring: bool) -> None:
        await sync_to_async(check_migrated)()
        own = conf.current()
        async with Ring(own).without_gateway() if ring else _services(own) as (reader, link):
            async with contextlib.aclosing(reader.watch_notices("")) as batches:
                first = await anext(batches)
            redrive = Redrive(
                first,
                reader.get_outcomes,
                reader.read_notices,
                refusals=REFUSALS,
                alone=codec() if own.single_messages and not ring else None,
            )
            plan = await redrive.plan()
            if plan is None:
                self.stdout.write("nothing to replay: the database is the one that is followed")
                return
            self._print(plan)
            if dry_run:
                return
            if none:
                await redrive.skip()
                self.stdout.write("goes on without what was lost")
                return
            async with _running(link):
                self._conclude(await redrive.run(link.publish, self._progress), plan)

    def _print(self, plan: Plan) -> None:
        write = self.stdout.write
        write(f"the database is not the one that was followed: {plan.why}")
        write(f"it has the history up to notice {plan.common}, and lacks the {plan.lost} notices that followed")
        write(f"to be replayed: {plan.applied} commands that were applied by these")
        write(f"to be made known: {plan.ended} commands that were rejected, cancelled or discarded")
        if plan.complete_from is None:
            write("of none of these notices the journal has a command: nothing can be replayed")
        elif plan.pruned:
            write(
                f"of the first {plan.pruned} of these notices the journal has no command (pruned after"
                f" {conf.current().keep_commands_days:g} days, or not sent through it):"
                f" what was applied before {plan.complete_from:%Y-%m-%d %H:%M:%S} UTC stays lost"
            )
        others = plan.lost - plan.pruned - plan.applied - plan.ended
        if plan.complete_from is not None and others > 0:
            write(f"{others} more of these notices are of no command of the journal: of parkings, or other clients")
        write(f"to be sent after it: {plan.waiting} commands that wait")

    def _progress(self, done: int, total: int) -> None:
        self.stdout.write(f"replayed {done} of {total}")

    def _conclude(self, done: Redriven, plan: Plan) -> None:
        self.stdout.write(f"replayed: {done.sent} commands that the database did not know; sent now: {plan.waiting}")
        if done.rejected:
            self.stderr.write(f"{len(done.rejected)} commands that were applied once were rejected now:")
        for command_id, message in done.rejected[:SHOWN]:
            self.stderr.write(f"  command={command_id}: {message}")
        if done.parked:
            self.stderr.write(f"{len(done.parked)} aggregates have parked commands: see them in the admin")


@contextlib.asynccontextmanager
async def _services(own: conf.Settings) -> AsyncIterator[tuple[ReadClient, Link]]:
    async with ReadClient(own.reader_address, token=own.read_token) as reader:
        name, password = own.mqtt_username, own.mqtt_password
        yield reader, MqttLink(own.broker_address, name="cqrs-replay", username=name, password=password)


@contextlib.asynccontextmanager
async def _running(link: Link) -> AsyncIterator[None]:
    task = asyncio.create_task(link.run(), name="link")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
