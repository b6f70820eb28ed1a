"""`manage.py createfirstuser`: Django's `createsuperuser`, with a password that is printed once."""

import os
import secrets
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from cqrs import conf
from cqrs.transport.process import StartError
from cqrssite.wiring import check_migrated

_VARIABLE = "DJANGO_SUPERUSER_PASSWORD"


class Command(BaseCommand):
    help = f"Creates the first user of the admin, with the password of {_VARIABLE} or a random one, printed once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", nargs="?", default="admin")
        parser.add_argument(
            "--force", action="store_true", help="also when there is one; a user that exists gets the password"
        )

    def handle(self, *, username: str, force: bool, **_options: Any) -> None:
        try:
            check_migrated()
        except StartError as error:
            raise CommandError(str(error)) from None
        users = get_user_model().objects
        if users.exists() and not force:
            raise CommandError("there is a user already; --force creates another, or resets the password of this one")
        given = os.environ.get(_VARIABLE, "")
        password = given or secrets.token_urlsafe(12)
        try:
            validate_password(password, get_user_model()(username=username))
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        if user := users.filter(username=username).first():
            user.is_staff = user.is_superuser = user.is_active = True
            user.set_password(password)
            user.save()
        else:
            # As createsuperuser does, which without a terminal asks for an e-mail address too.
            users.create_superuser(username, password=password)
        shown = "" if given else f" with password {password}"
        self.stdout.write(f"User {username}{shown} may use the admin: http://{conf.current().gateway_bind}/admin/")
