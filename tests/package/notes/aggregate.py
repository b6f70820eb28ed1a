from notes import models
from notes.messages_pb2 import ForgetNote, Note, WriteNote

from cqrs.aggregate import Aggregate, Effect
from cqrs.store.table import TableStore

note = Aggregate("note", state=Note, store=TableStore(models.Note, Note), summary=lambda note: note.text)


@note.verb(WriteNote, Effect.CREATES, "Writes a note.")
def write(_none, wanted):
    return Note(text=wanted.text, stars=wanted.stars)


@note.verb(ForgetNote, Effect.DELETES, "Forgets a note.")
def forget(stored, _wanted):
    return stored
