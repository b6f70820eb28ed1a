from django.apps import AppConfig


class DatabaseServiceConfig(AppConfig):
    name = "database_service"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Contacts: database"
