"""What findings are about. Keys are stable over time; labels are how people know the thing."""

from __future__ import annotations

from flykeep.domain.findings import Subject
from flykeep.domain.fly import Volume
from flykeep.domain.ids import AppName
from flykeep.domain.target import Lineage

LINEAGE = "lineage:"
VOLUME = "volume:"
APP = "app:"
RULE = "rule:"
NOTIFIER = "notifier:"
STORE = "store:"
ORG = "org:"


def lineage_subject(lineage: Lineage, label: str) -> Subject:
    """Keyed by the lineage's id, because its label grows a machine's name when a twin appears."""
    return Subject(f"{LINEAGE}{lineage.id}", label, lineage.app, lineage.volume_id, lineage.id)


def volume_subject(volume: Volume) -> Subject:
    """A volume without a lineage."""
    return Subject(f"{VOLUME}{volume.id}", f"{volume.app}/{volume.name}", volume.app, volume.id)


def app_subject(app: AppName) -> Subject:
    return Subject(f"{APP}{app}", f"app {app}", app)


def rule_subject(match: str) -> Subject:
    return Subject(f"{RULE}{match}", match)


def notifier_subject(name: str) -> Subject:
    return Subject(f"{NOTIFIER}{name}", f"notifier {name}")


def store_subject(name: str) -> Subject:
    return Subject(f"{STORE}{name}", f"store {name}")


def org_subject(slug: str) -> Subject:
    return Subject(f"{ORG}{slug}", f"organization {slug}")
