"""The last notices in memory, each found by the position that it follows."""

from collections import OrderedDict

from protocol.cqrs_notice_pb2 import Notice


class History:
    """Up to `keep` notices; the oldest ones leave first."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._following: OrderedDict[str, Notice] = OrderedDict()

    def add(self, after: str, notice: Notice) -> None:
        """Remembers that `notice` follows the position `after`."""
        self._following[after] = notice
        if len(self._following) > self._keep:
            self._following.popitem(last=False)

    def following(self, position: str) -> Notice | None:
        """The notice that follows a position, None when it is not in memory."""
        return self._following.get(position)

    def page(self, position: str, most: int) -> list[Notice]:
        """Up to `most` notices that follow one another from a position on."""
        page: list[Notice] = []
        while len(page) < most and (notice := self._following.get(position)) is not None:
            page.append(notice)
            position = notice.position
        return page

    def clear(self) -> None:
        """Forgets all."""
        self._following.clear()
