"""Builds what judges the backups and tells people."""

from __future__ import annotations

from collections.abc import Mapping

from flykeep.adapters.codecs.sealing import AgeSealer
from flykeep.adapters.fly.apps import FlyApps
from flykeep.adapters.fly.premises import FlyPremises
from flykeep.adapters.stores.bucket_child import BucketChild
from flykeep.bootstrap.ground import Ground
from flykeep.domain.ids import AppName
from flykeep.jobs.alerting import Alerting, Recipient
from flykeep.jobs.check import CheckJob
from flykeep.jobs.describing import Describer
from flykeep.jobs.doctor import Doctor
from flykeep.jobs.facts import FactReader
from flykeep.jobs.proofs import ProofBook
from flykeep.jobs.runbook import Runbooks
from flykeep.jobs.snapshot_doctor import SnapshotDoctor
from flykeep.jobs.statefile import StateWriter
from flykeep.plugins import load_notifiers
from flykeep.ports.clock import Clock
from flykeep.ports.notifier import Notifier
from flykeep.ports.plugin import NotifierDeps
from flykeep.settings import Settings


def runbooks(ground: Ground) -> Runbooks:
    """The pages by which people rebuild apps by hand."""
    known, recipients = (ground.catalog, ground.clock, ground.stores), ground.settings.encryption.recipients
    return Runbooks(*known, AgeSealer(), ground.keys.signer, recipients)


def checking(ground: Ground, alerting: Alerting, book: ProofBook, runbooks: Runbooks) -> CheckJob:
    """The check, which renews the state document and the runbooks in the stores too."""
    settings, catalog, clock = ground.settings, ground.catalog, ground.clock
    facts = FactReader(ground.fly, catalog, clock, settings.drill_means.obstacle, settings.verify.max_age)
    recipients, stores = settings.encryption.recipients, ground.plain_stores
    state = StateWriter(catalog, stores, AgeSealer(), ground.keys.signer, recipients, settings.fly.org)
    about = (settings.targets, settings.fly.org, alerting, state, book, settings.retention.schedule)
    describer = Describer(FlyApps(ground.fly, clock=clock), catalog, clock, settings.fly.org)
    return CheckJob(facts, catalog, clock, ground.ids, *about, describer, runbooks)


def proof_book(ground: Ground) -> ProofBook:
    """The proofs of drills, this daemon's and those of trusted others."""
    signer = ground.keys.signer.trusting(ground.settings.drill.trusted_signers)
    return ProofBook(ground.catalog, ground.clock, ground.plain_stores, signer)


def notifiers(settings: Settings, clock: Clock) -> dict[str, Notifier]:
    """Every notifier of the configuration, by name."""
    plugins = load_notifiers({notifier.type for notifier in settings.notifiers})
    deps = NotifierDeps(clock=clock, secret=settings.secrets.value)
    return {
        notifier.name: plugins[notifier.type].build(notifier.name, notifier.table, deps)
        for notifier in settings.notifiers
    }


def recipients(notifiers: Mapping[str, Notifier]) -> tuple[Recipient, ...]:
    """Who is told of incidents."""
    return tuple(Recipient(name, notifier.kinds) for name, notifier in notifiers.items())


def doctor(ground: Ground, notifiers: Mapping[str, Notifier]) -> Doctor:
    """The doctor with what the configuration asks for."""
    settings = ground.settings
    app = None if settings.scratch.is_in_target_app else AppName(settings.scratch.app)
    premises = FlyPremises(ground.fly, org=settings.fly.org)
    return Doctor(
        ground.fly,
        ground.access,
        ground.workers,
        ground.catalog,
        ground.stores,
        notifiers,
        settings.targets,
        ground.clock,
        ground.ids,
        BucketChild(),
        SnapshotDoctor(premises, app, settings.worker.image, settings.targets, settings.hidden_stores),
    )
