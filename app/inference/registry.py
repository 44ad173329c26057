"""Which networks there are, by name and version, and in which state; it notices what changes under models/.

A request asks `find` for a network and keeps it to its end. A network that is new or has changed is verified, compiled
and warmed up beside the old one, in threads; then the table that `find` reads is replaced. The old
network is finished once the last request that holds it is. What is bad is reported and changes nothing.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from app.errors import ArtifactError, NotFound, Unavailable, one_of
from app.inference import artifact as artifacts
from app.inference.artifact import Artifact, Place, Signature
from app.inference.network import Network
from app.settings import Settings

PREFERRED = ("accurate", "fast")
"""The networks to serve by default, best first."""

INTERVAL = 1.0
"""Seconds between two looks at the folder; a change counts when two looks in a row find the same."""

State = Literal["ready", "idle", "loading", "unavailable"]
"""`ready` is compiled, `idle` is compiled at its first request, and what is `loading` answers nobody yet."""

logger = logging.getLogger(__name__)


class Version(NamedTuple):
    """One version of a network, as GET /models lists it."""

    name: str
    version: str
    state: State
    default: bool
    """Whether it is the one that its name alone stands for."""
    reason: str | None
    """What is wrong with its files; a network that was loaded before goes on answering."""


@dataclass(slots=True)
class _Entry:
    """One place that has or had an artifact."""

    signature: Signature
    network: Network | None = None
    problem: str | None = None
    loading: bool = False


class _Look(NamedTuple):
    """What is in the folder: the signature of each place, and the version that each pinned network is pinned to."""

    places: Mapping[Place, Signature]
    pins: Mapping[str, str]


class Registry:
    """The networks of one process."""

    def __init__(self, settings: Settings) -> None:
        """Read and verify every artifact. What is wrong with one does not keep the others from being served.

        Raises ArtifactError if the folder is missing or holds no artifact that can be served, or if there is none
        called `default_model`.
        """
        self._settings = settings
        self._models = settings.models
        if not self._models.is_dir():
            raise ArtifactError(f"{self._models}: no such folder; expected one that holds <name>/metadata.json")
        look = _look(self._models)
        self._pins = look.pins
        self._entries: dict[Place, _Entry] = {}
        for place, signature in look.places.items():
            self._first(place, signature)
        if not any(entry.network for entry in self._entries.values()):
            expected = f"{self._models}: holds no artifact; expected at least one <name>/metadata.json"
            raise ArtifactError("; ".join(self.unavailable.values()) or expected)
        self._watching: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._table: dict[str | None, Network] = {}
        self._tabulate()
        wanted = settings.default_model
        if wanted is not None and wanted not in self._table and wanted not in self._bad():
            raise ArtifactError(f"default_model is {wanted!r}; expected {one_of(self._names())}")

    def find(self, wanted: str | None) -> Network:
        """The network of a name or `name@version`, or the default one for None.

        Raises Unavailable for one that cannot be served, and NotFound, listing what is served.
        """
        try:
            return self._table[wanted]
        except KeyError:
            pass
        wanted = self._default if wanted is None else wanted
        if wanted in self._bad():
            detail = f"{wanted} cannot be served; expected {one_of(self.names)}, or its files mended"
            raise Unavailable.about("model", detail)
        name, _, version = wanted.partition("@")
        if version and name in self._table:
            found = f"version {version!r:.80} of {name} is not served"
            detail = f"{found}; expected {', '.join(self.versions_of(name))}"
            raise NotFound.about("version", detail)
        raise NotFound.about("model", f"no model is called {wanted!r:.80}; expected {one_of(self.names)}")

    @property
    def networks(self) -> list[Network]:
        """The network that each name stands for, by name."""
        return [self._table[name] for name in self.names]

    @property
    def names(self) -> list[str]:
        """The names of the networks that are served."""
        return [name for name in self._names() if name in self._table]

    def versions_of(self, name: str) -> list[str]:
        """The versions of a network that are served, newest first."""
        return [entry.network.metadata.version for _, entry in self._newest_first(name) if entry.network]

    def is_default(self, network: Network) -> bool:
        """Whether it answers where a request names no network."""
        return self._table.get(None) is network

    @property
    def unavailable(self) -> dict[str, str]:
        """What is wrong under models/, by folder; of a network that was loaded before, it goes on answering."""
        found = {str(place): entry.problem for place, entry in self._entries.items() if entry.problem}
        return found | {f"{name}/{artifacts.PINNED}": problem for name, problem in self._bad_pins().items()}

    @property
    def versions(self) -> list[Version]:
        """Every version of every network, newest first."""
        return [self._version(place, entry) for name in self._names() for place, entry in self._newest_first(name)]

    async def start(self) -> None:
        """Compile the default network and watch the folder. Each other network is compiled at its first request.

        Raises ArtifactError.
        """
        if network := self._table.get(None):
            await network.prepare()
        if self._settings.reload:
            self._watching = asyncio.ensure_future(self._watch())

    async def close(self) -> None:
        """Finish what was admitted."""
        if self._watching:
            self._watching.cancel()
        networks = [entry.network for entry in self._entries.values() if entry.network]
        await asyncio.gather(*(network.close() for network in networks))

    async def _watch(self) -> None:
        before = None
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                async with self._changing:  # so that no look is older than what `refresh` has loaded
                    look = await asyncio.to_thread(_look, self._models)
                    if look == before:
                        await self._follow(look)
                before = look
            except Exception:  # the next look may find what is mended
                logger.exception("models cannot be watched")

    async def refresh(self) -> None:
        """Look at the folder now, unless `reload` is off, and return once what has changed is served or reported."""
        if self._settings.reload:
            async with self._changing:
                await self._follow(await asyncio.to_thread(_look, self._models))

    async def _follow(self, look: _Look) -> None:
        """Make the networks those that `look` has found."""
        changed = [place for place, now in look.places.items() if self._signature(place) != now]
        gone = [place for place in self._entries if place not in look.places]
        if not changed and not gone and look.pins == self._pins:
            return
        for place in changed:
            await self._load(place, look.places[place])
        for place in gone:
            entry = self._entries.pop(place)
            if entry.network:
                logger.info("%s was removed and is no longer served", place)
        if look.pins != self._pins:
            self._pins = look.pins
            for name, problem in self._bad_pins().items():
                logger.error("%s/%s: %s", name, artifacts.PINNED, problem)
        self._tabulate()

    async def _load(self, place: Place, signature: Signature) -> None:
        """Load an artifact that is new or has changed, and serve it in place of what was there before."""
        entry = self._entries.setdefault(place, _Entry(()))
        entry.signature = signature
        entry.loading = True
        try:
            found = await asyncio.to_thread(artifacts.read, self._models, place)
            self._reject_twice(place, found)
            if not entry.network or entry.network.metadata != found.metadata:
                network = Network(found, self._settings)
                await network.prepare(wholly=True)
                entry.network = network
                logger.info("%s: version %s is served", place, found.metadata.version)
        except (ArtifactError, RuntimeError, MemoryError) as error:
            self._report(place, entry, error)
        else:
            entry.problem = None
        finally:
            entry.loading = False
        self._tabulate()

    def _first(self, place: Place, signature: Signature) -> None:
        """Enter an artifact that is there at the start: verified, but not compiled."""
        entry = self._entries[place] = _Entry(signature)
        try:
            found = artifacts.read(self._models, place)
            self._reject_twice(place, found)
            entry.network = Network(found, self._settings)
        except ArtifactError as error:
            self._report(place, entry, error)

    def _report(self, place: Place, entry: _Entry, error: Exception) -> None:
        entry.problem = str(error).replace(f"{self._models}/", "")
        if entry.network and not entry.network.ready:
            entry.network = None  # which could not be compiled any more
        still = f"; version {entry.network.metadata.version} goes on" if entry.network else ""
        logger.error("%s cannot be served: %s%s", place, error, still)

    def _reject_twice(self, place: Place, found: Artifact) -> None:
        """Raises ArtifactError if another place has the same version."""
        version = found.metadata.version
        for other, entry in self._entries.items():
            same = entry.network is not None and entry.network.metadata.version == version
            if same and other != place and other.name == place.name:
                raise ArtifactError(f"{found.folder}: {other} is version {version} already")

    def _signature(self, place: Place) -> Signature | None:
        entry = self._entries.get(place)
        return entry.signature if entry else None

    # What follows from the entries.

    def _tabulate(self) -> None:
        """What `find` looks into, which changes at once."""
        table: dict[str | None, Network] = {}
        for name in self._names():
            sound = [entry.network for _, entry in self._newest_first(name) if entry.network]
            if sound:
                pinned = [network for network in sound if network.metadata.version == self._pins.get(name)]
                table[name] = (pinned or sound)[0]
                table |= {f"{name}@{network.metadata.version}": network for network in reversed(sound)}
        if (default := self._choose(table)) in table:
            table[None] = table[default]
        self._table, self._default = table, default

    def _choose(self, table: Mapping[str | None, Network]) -> str:
        """The default network's name, perhaps of an unavailable one: another would give other answers unasked."""
        if self._settings.default_model is not None:
            return self._settings.default_model
        names = self._names()
        return next((name for name in PREFERRED if name in names), next(iter(table), "") or "")

    def _newest_first(self, name: str) -> list[tuple[Place, _Entry]]:
        """The versions of a network; what cannot be read comes last."""
        found = [(place, entry) for place, entry in self._entries.items() if place.name == name]
        return sorted(found, key=lambda pair: _age(pair[1]), reverse=True)

    def _version(self, place: Place, entry: _Entry) -> Version:
        name, network = place.name, entry.network
        version = network.metadata.version if network else place.version or ""
        state: State = "unavailable"
        if network:
            state = "ready" if network.ready else "idle"
        elif entry.loading:
            state = "loading"
        return Version(name, version, state, network is not None and self._table.get(name) is network, entry.problem)

    def _names(self) -> list[str]:
        return list(dict.fromkeys(place.name for place in sorted(self._entries)))

    def _bad(self) -> set[str]:
        """The names, and names with versions, of what cannot be served."""
        bad = {place for place, entry in self._entries.items() if not entry.network}
        return {f"{place.name}@{place.version}" if place.version else place.name for place in bad} | {
            name for name in self._names() if all(not entry.network for _, entry in self._newest_first(name))
        }

    def _bad_pins(self) -> dict[str, str]:
        found = {}
        for name, pin in self._pins.items():
            if pin not in (served := self.versions_of(name)):
                found[name] = f"names the version {pin!r:.80}; expected {one_of(served)}; the newest is served"
        return found


def _age(entry: _Entry) -> tuple[bool, tuple[str, Sequence[tuple[int, str]]]]:
    return (True, artifacts.age(entry.network.metadata)) if entry.network else (False, ("", ()))


def _look(models: Path) -> _Look:
    places = {place: artifacts.signature(place.within(models)) for place in artifacts.places(models)}
    return _Look(places, dict(_pins(models, {place.name for place in places})))


def _pins(models: Path, names: set[str]) -> Iterator[tuple[str, str]]:
    for name in sorted(names):
        try:
            pinned = (models / name / artifacts.PINNED).read_text().strip()
        except (OSError, UnicodeDecodeError):
            continue
        if pinned:
            yield name, pinned
