from django.apps import AppConfig


class NoteConfig(AppConfig):
    name = "tests.aggregates.note"
    label = "note"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Notes"
