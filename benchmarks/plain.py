"""`manage.py` without batching: what each of our batches and plans gains is the difference to this.

One read is one call, one command one commit, one message, one `Apply` and one transaction; no call goes over a stream;
GraphQL is executed by graphql-core alone.
"""

import os
import sys
from typing import Any


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cqrssite.settings")
    import django

    django.setup()
    _unbatch()
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", *sys.argv[1:]])


def _unbatch() -> None:
    from cqrs.journal import committer
    from cqrs.query import batcher
    from cqrs.store import command_writer
    from cqrs.transport import persistent_calls
    from cqrs.writer import delay_queue
    from cqrssite.graphql.engine import executor
    from protocol import topics

    executor._calls = lambda _operation: None  # type: ignore[assignment]  # noqa: SLF001
    add = batcher.Batch.add
    batcher.Batch.add = lambda batch, *asked: not len(batch) and add(batch, *asked)  # type: ignore[method-assign]
    # Else what is sent one by one would also wait for one another.
    batcher.IN_FLIGHT, batcher.SLOW = 1000, 0.0
    persistent_calls.StreamedCall.__call__ = _plainly  # type: ignore[method-assign, assignment]
    committer.MAX_GROUP = 1
    topics.BATCH_SIZE = 1
    delay_queue.BATCH = 1
    command_writer._MOST_JOINED = 1  # noqa: SLF001


def _plainly(call: Any, request: Any, **options: Any) -> Any:
    return call._plain(request, **options)  # noqa: SLF001


if __name__ == "__main__":
    main()
