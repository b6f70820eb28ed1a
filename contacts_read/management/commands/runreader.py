"""`manage.py runreader`: the kit's reader, which serves the Go example's contract besides."""

from contacts_read.go_contract import SERVICE
from cqrs.management.commands import runreader


class Command(runreader.Command):
    contracts = [SERVICE]
