from django.db import models

from cqrs.fields import AggregateRow


class Note(AggregateRow):
    text = models.TextField(max_length=1000, help_text="1 to 1,000 characters, each note's its own.")
    author = models.CharField(max_length=100, null=True, help_text="Empty: nobody has signed it.")  # noqa: DJ001

    class Meta:
        db_table = "note"
        constraints = [
            models.UniqueConstraint(
                fields=["text"], name="note_text_once", violation_error_message="there is a note of this text already"
            ),
            models.CheckConstraint(
                condition=~models.Q(author="nobody"),
                name="note_author_somebody",
                violation_error_message="nobody cannot sign a note",
            ),
        ]

    def __str__(self) -> str:
        return self.text
