"""`manage.py runwriter`: the kit's writer, which understands the Go example's topics and database service too."""

from contacts_write.go_contract import GoTopics
from contacts_write.go_database import GoDatabase
from cqrs import conf
from cqrs.management.commands import runwriter


class Command(runwriter.Command):
    codec = GoTopics()

    def contract(self) -> GoDatabase:
        return GoDatabase(conf.current().writer_limit)
