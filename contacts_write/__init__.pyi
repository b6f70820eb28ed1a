from collections.abc import Iterable, Mapping

from cqrs.journal.accepted import Accepted
from cqrs.journal.api import aamend_command as aamend_command
from cqrs.journal.api import acancel_command as acancel_command
from cqrs.journal.api import adiscard_command as adiscard_command
from cqrs.journal.api import amend_command as amend_command
from cqrs.journal.api import aretry_command as aretry_command
from cqrs.journal.api import cancel_command as cancel_command
from cqrs.journal.api import discard_command as discard_command
from cqrs.journal.api import retry_command as retry_command
from cqrs.journal.api import together as together
from cqrs.journal.state import CommandState

class AcceptedContact(Accepted):
    @property
    def contact_id(self) -> str: ...

class ContactCommand(CommandState):
    @property
    def contact_id(self) -> str: ...

Names = Iterable[str | Mapping[str, object]]

def add_contact(name: str, *, command_id: str | None = None, actor: str = "") -> AcceptedContact: ...
def add_contacts(
    iterable: Names, *, actor: str = "", command_ids: Iterable[str] | None = None
) -> list[AcceptedContact]: ...
def update_contact(
    contact_id: str, name: str, *, expected_version: int | None = None, command_id: str | None = None, actor: str = ""
) -> AcceptedContact: ...
def delete_contact(
    contact_id: str, *, expected_version: int | None = None, command_id: str | None = None, actor: str = ""
) -> AcceptedContact: ...
def command_state(command_id: str) -> ContactCommand: ...
def wait_for(command_id: str, timeout: float) -> ContactCommand: ...
async def aadd_contact(name: str, *, command_id: str | None = None, actor: str = "") -> AcceptedContact: ...
async def aadd_contacts(
    iterable: Names, *, actor: str = "", command_ids: Iterable[str] | None = None
) -> list[AcceptedContact]: ...
async def aupdate_contact(
    contact_id: str, name: str, *, expected_version: int | None = None, command_id: str | None = None, actor: str = ""
) -> AcceptedContact: ...
async def adelete_contact(
    contact_id: str, *, expected_version: int | None = None, command_id: str | None = None, actor: str = ""
) -> AcceptedContact: ...
async def acommand_state(command_id: str) -> ContactCommand: ...
async def await_for(command_id: str, timeout: float) -> ContactCommand: ...
