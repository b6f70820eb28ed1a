from django.apps import AppConfig


class ContactsReadConfig(AppConfig):
    name = "contacts_read"
    verbose_name = "Contacts: query side"
