from django.apps import AppConfig


class CqrsConfig(AppConfig):
    name = "cqrs"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Commands and notices"
