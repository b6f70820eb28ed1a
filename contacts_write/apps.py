from django.apps import AppConfig


class ContactsWriteConfig(AppConfig):
    name = "contacts_write"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Contacts: command side"
