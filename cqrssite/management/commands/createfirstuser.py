"""Creates the first user of the admin."""

import secrets
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Creates the first user of the admin; prints the password once unless one is given."
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", nargs="?", default="admin")
        parser.add_argument("--password", default="", help="(default: a random one)")
        parser.add_argument(
            "--force", action="store_true", help="also when there is one; a user that exists gets the password"
        )

    def handle(self, **options: Any) -> None:
        users = get_user_model().objects
        name, password = options["username"], options["password"]
        if users.exists() and not options["force"]:
            raise CommandError("there is a user already; --force creates another, or resets the password of this one")
        user = users.filter(username=name).first() or get_user_model()(username=name)
        user.is_staff = user.is_superuser = user.is_active = True
        if password:
            try:
                validate_password(password, user)
            except ValidationError as error:
                raise CommandError(" ".join(error.messages)) from error
        user.set_password(password or (password := secrets.token_urlsafe(12)))
        user.save()
        said = "" if options["password"] else f" with password {password}"
        self.stdout.write(f"User {name}{said} may use the admin: http://{settings.CONTACTS.gateway_bind}/admin/")
