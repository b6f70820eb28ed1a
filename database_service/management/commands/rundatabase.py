"""`manage.py rundatabase`: the kit's database service, which serves the Go example's contract besides."""

from cqrs.management.commands import rundatabase
from database_service.go_contract import GO_CONTRACT


class Command(rundatabase.Command):
    contract = GO_CONTRACT
