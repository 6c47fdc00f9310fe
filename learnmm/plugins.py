"""What packages plug in through entry points: a name once, and errors that say which it was."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple


class Plugins(NamedTuple):
    """A group of entry points, and what one and several of it are called in errors."""

    group: str
    one: str
    several: str

    def entries(self) -> dict[str, dict[str, EntryPoint]]:
        """By name and value; one that is listed twice, by a stale install, counts once."""
        found: dict[str, dict[str, EntryPoint]] = {}
        for entry in entry_points(group=self.group):
            found.setdefault(entry.name, {})[entry.value] = entry
        return found

    def entry(self, name: str) -> EntryPoint | None:
        """That of a name, or None; ImportError if several plug-ins claim it."""
        claims = self.entries().get(name, {})
        if len(claims) > 1:
            raise ImportError(
                f"several {self.several} are called {name!r}: "
                f"{', '.join(map(repr, sorted(claims)))}; uninstall or rename all but one"
            )
        return next(iter(claims.values()), None)

    def load(self, entry: EntryPoint) -> Any:
        """What an entry point names; ImportError if it does not come."""
        try:
            return entry.load()
        except Exception as error:  # a plug-in may fail in any way
            raise self.not_loaded(entry, error) from error

    def not_loaded(self, entry: EntryPoint, error: Exception) -> ImportError:
        """Error of a plug-in that fails to import or to construct."""
        return ImportError(
            f"the {self.one} {entry.name!r} could not be loaded from {entry.value!r}: "
            f"{type(error).__name__}: {error}"
        )
