from cqrs.aggregate import Aggregate, Effect
from cqrs.store.table import TableStore
from tests.aggregates.note import models
from tests.aggregates.note.messages_pb2 import Note, RemoveNote, RewriteNote, WriteNote

note = Aggregate("note", state=Note, store=TableStore(models.Note, Note), summary=lambda note: note.text)


@note.verb(WriteNote, Effect.CREATES, "Writes a note.")
def write(_none: None, wanted: WriteNote) -> Note:
    return Note(text=wanted.text, author=wanted.author if wanted.HasField("author") else None)


@note.verb(RewriteNote, Effect.CHANGES, "Gives a note another text.")
def rewrite(note: Note, wanted: RewriteNote) -> Note | str:
    if note.text == wanted.text:
        return "the note says so already"
    note.text = wanted.text
    return note


@note.verb(RemoveNote, Effect.DELETES, "Removes a note.")
def remove(note: Note, _wanted: RemoveNote) -> Note:
    return note
