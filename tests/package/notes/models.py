from django.db import models

from cqrs.fields import AggregateRow


class Note(AggregateRow):
    text = models.TextField(max_length=500)
    stars = models.IntegerField(null=True)
