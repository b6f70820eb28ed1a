"""What the stock project keeps."""

import uuid

from django.db import models


def _new_id() -> str:
    return str(uuid.uuid4())


class Contact(models.Model):
    """A contact."""

    id = models.CharField(primary_key=True, max_length=100, default=_new_id)
    name = models.CharField(max_length=200)
    last_updated = models.DateTimeField(auto_now=True)
    created = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        app_label = "stock"

    def __str__(self) -> str:
        return self.name
