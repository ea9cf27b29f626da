"""Restore drills: where from and where, and what the result proves. A drill that could not run proves nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flykeep.domain.agreement import Comparison
from flykeep.domain.artifact import Artifact
from flykeep.domain.compliance_export import newest_restorable
from flykeep.domain.errors import RefusalError
from flykeep.domain.probes import ProbeOutcome

DRILL_MOUNT = "/flykeep-drill"
_NAMED = 3

NO_MACHINES = "no [worker] image is configured for machines that could restore a snapshot"
NO_IDENTITY = "no identity_secret opens artifacts"


_HINT = (
    "Set [worker] image, or [encryption] identity_secret; or run `flykeep drill` on a machine that has the identity, "
    "and name its public key in [drill] trusted_signers."
)


@dataclass(frozen=True, slots=True)
class DrillMeans:
    """What the configuration allows."""

    has_machines: bool  # temporary machines of flykeep's own image
    opens_artifacts: bool

    @property
    def obstacle(self) -> str | None:
        """Why no drill can run here, or None."""
        return None if self.has_machines or self.opens_artifacts else f"{NO_MACHINES}, and {NO_IDENTITY}"


@dataclass(frozen=True, slots=True)
class DrillPlan:
    """`source` is `snapshot` or `artifact`; `is_here` restores into a directory of this machine."""

    source: str
    is_here: bool
    reasons: tuple[str, ...]


def plan_drill(means: DrillMeans, *, wanted: str | None) -> DrillPlan:
    """Snapshots come first, for that is what a restore takes. Raises RefusalError before anything is made."""
    if means.obstacle is not None:
        raise RefusalError(f"a drill cannot run here: {means.obstacle}", hint=_HINT)
    source = wanted or ("snapshot" if means.has_machines else "artifact")
    if source == "snapshot" and not means.has_machines:
        raise RefusalError(f"a snapshot cannot be restored here: {NO_MACHINES}", hint=_HINT)
    if source == "artifact" and not means.opens_artifacts:
        raise RefusalError(f"an artifact cannot be restored here: {NO_IDENTITY}", hint=_HINT)
    asked = f"{source} was asked for" if wanted else f"{source} is what can be restored here"
    where = "on a temporary machine" if means.has_machines else "into a directory of this machine"
    return DrillPlan(source, not means.has_machines, (asked, where))


def restorable_artifact(artifacts: Iterable[Artifact], *, stores: Iterable[str]) -> Artifact:
    """The newest artifact in one of `stores` that counts as a backup. Raises RefusalError where there is none."""
    chosen = _newest_in(artifacts, stores)
    if chosen is None:
        raise RefusalError("there is no restorable artifact to drill", hint="Make one with `flykeep export TARGET`.")
    return chosen


def reference_artifact(artifacts: Iterable[Artifact], *, stores: Iterable[str]) -> Artifact | None:
    """The artifact that a restored snapshot is compared with, where there is one."""
    return _newest_in(artifacts, stores)


def _newest_in(artifacts: Iterable[Artifact], stores: Iterable[str]) -> Artifact | None:
    known = frozenset(stores)
    return newest_restorable(one for one in artifacts if one.store in known)


def why_failed(
    *, files: int, probes: Sequence[ProbeOutcome], comparison: Comparison | None, compared_with: str | None = None
) -> str | None:
    """Why what was restored is not what it must be, or None: it is."""
    if not files:
        return "the restored volume holds no file"
    reasons = [f"{probe.probe}: {probe.detail}" for probe in probes if not probe.is_passed]
    if comparison is not None and not comparison.is_agreed:
        names = "; ".join(f"{one.path} {one.why}" for one in comparison.first[:_NAMED])
        count = comparison.contradictions
        entries = "1 entry contradicts" if count == 1 else f"{count} entries contradict"
        reasons.append(f"{entries} artifact {compared_with}: {names}")
    return "; ".join(reasons) or None
