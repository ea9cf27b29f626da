"""Altered artifacts: each level of verification finds what it promises to find, and forgeries never count."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage
import pytest

from flykeep.adapters.codecs.age_stream import is_for_any
from flykeep.adapters.codecs.keys import StateKeys
from flykeep.adapters.stores.object_store import ObjectStore
from flykeep.adapters.system import SystemClock
from flykeep.domain import layout, manifest
from flykeep.domain.artifact import Artifact, Manifest, SignedManifest
from flykeep.domain.compliance_export import newest_restorable
from flykeep.domain.compliance_verification import VerificationFacts, verification_findings
from flykeep.domain.errors import ConfigError, IntegrityError, SignatureError, StoreUnavailableError
from flykeep.domain.findings import FindingCode, Subject
from flykeep.domain.ids import AppName, ExportId, VolumeName
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Outcome, RunState
from flykeep.domain.target import STORES_LINEAGE
from flykeep.domain.verification import stored_bytes
from flykeep.jobs.authentic import ArtifactStores
from flykeep.jobs.export import BoundStore
from flykeep.jobs.runner import Jobs, Runner
from flykeep.jobs.sampled_verification import SampledVerification
from flykeep.jobs.verify import VerifyJob, failure_reasons
from flykeep.ports.crypto import Signer
from flykeep.ports.store import Store
from flykeep.ports.worker import Progress, VerifyOrder, VerifyResult
from flykeep.testing.stores import MemoryStore
from flykeep.worker.channel import Flow, StoppedError
from flykeep.worker.report import Reporter
from flykeep.worker.verify import Verification
from tests.full import IS_FULL, full
from tests.integration.jobs.parts import Parts
from tests.integration.worker.artifacts import OPERATOR, PREFIX, Made, folder, made, member
from tests.unit.domain.builders import artifact as some_artifact

LEVELS = ("manifest", "bytes", "contents")
MEMBERS = [folder("."), member("crocbot.json", b'{"a": 1}\n'), member("agents", b"remember this")]
KEY = layout.manifest_key(PREFIX)


class HereWorkers:
    """Verifies in a thread of this process."""

    async def verify(self, order: VerifyOrder, *, on_progress: Callable[[Progress], None]) -> VerifyResult:
        return await asyncio.to_thread(verified, order)


def verified(order: VerifyOrder) -> VerifyResult:
    flow = Flow()
    try:
        return Verification(order, flow=flow, reporter=Reporter(io.BytesIO(), SystemClock())).run()
    except StoppedError:
        assert flow.failure is not None
        raise flow.failure from None


@dataclass
class Kept:
    """One small artifact in a directory store, recorded in a catalog."""

    parts: Parts
    made: Made
    artifact: Artifact
    identity: str | None = str(OPERATOR)
    outage: MemoryStore | None = None

    @property
    def bound(self) -> dict[str, BoundStore]:
        order = self.made.order.store
        stores: list[Store] = [ObjectStore(order), *([self.outage] if self.outage else [])]
        return {store.name: BoundStore(store, order) for store in stores}

    @property
    def job(self) -> VerifyJob:
        return VerifyJob(
            HereWorkers(),  # type: ignore[arg-type]  # only what the job calls
            self.bound,
            self.parts.catalog,
            self.parts.clock,
            self.parts.settler,
            self.parts.keys.index_key,
            lambda: self.identity,
            timedelta(hours=1),
            is_for_any,
        )

    @property
    def stores(self) -> ArtifactStores:
        return ArtifactStores(self.bound, self.parts.settler)

    def path(self, key: str) -> Path:
        return self.made.root / key

    async def remembered(self) -> Artifact:
        async with self.parts.catalog.transaction() as tx:
            return (await tx.artifact(self.artifact.export_id))[0]

    async def refused(self, level: str) -> IntegrityError:
        """What the job says of the artifact, which counts no more then."""
        with pytest.raises(IntegrityError) as caught:
            await self.job.verify(await self.remembered(), level=level)
        assert caught.value.exit_code == 7
        assert newest_restorable([await self.remembered()]) is None
        return caught.value

    def order(self, level: str) -> VerifyOrder:
        return VerifyOrder(
            store=self.made.order.store,
            objects=self.artifact.manifest.data,
            index=self.artifact.manifest.index,
            level="contents" if level == "contents" else "bytes",
            identity=str(OPERATOR),
            index_identity=str(OPERATOR),
            is_encrypted=True,
            totals=self.artifact.manifest.totals,
            deadline_s=60,
        )


def described(made: Made, **changes: object) -> Manifest:
    base = some_artifact().manifest
    origin = replace(base.origin, app=AppName("my-crocbot"), volume_name=VolumeName("crocbot_data"))
    return replace(
        base,
        export_id=ExportId("X1"),
        origin=origin,
        started_at=datetime(2026, 3, 1, tzinfo=UTC),
        recipients=(str(OPERATOR.to_public()),),
        encryption="age",
        data=made.order.objects,
        index=made.order.index,
        totals=made.order.totals,
        **changes,  # type: ignore[arg-type]
    )


def written(kept_in: Path, said: Manifest, signer: Signer, *, key: str = KEY, claims: str | None = None) -> None:
    document = SignedManifest(said, signer.sign(manifest.canonical_bytes(said)), claims or signer.public_hex)
    (kept_in / key).write_bytes(manifest.to_document(document))


@pytest.fixture
async def kept(parts: Parts, tmp_path: Path) -> Kept:
    artifact_made = made(tmp_path / "store", MEMBERS)
    said = described(artifact_made)
    written(artifact_made.root, said, parts.keys.signer)
    artifact = Artifact(said.export_id, "shelf", KEY, said, parts.clock.now())
    async with parts.catalog.transaction() as tx:
        await tx.record_artifact(artifact)
    return Kept(parts, artifact_made, artifact)


def flipped(path: Path, places: range) -> Iterator[int]:
    """The file with one bit of one byte flipped, for each of these places; as it was afterwards."""
    sound = path.read_bytes()
    for place in places:
        altered = bytearray(sound)
        altered[place] ^= 1 << place % 8
        path.write_bytes(altered)
        yield place
    path.write_bytes(sound)


async def test_the_sound_artifact_passes_every_level(kept: Kept) -> None:
    for level in LEVELS:
        await kept.job.verify(await kept.remembered(), level=level)
        assert newest_restorable([await kept.remembered()]) is not None


async def test_a_bit_flipped_in_any_byte_of_the_manifest_is_found_at_every_level(kept: Kept) -> None:
    path = kept.path(KEY)
    sound = path.read_bytes()
    for _ in flipped(path, range(len(sound))):
        with pytest.raises(IntegrityError):
            await kept.stores.authentic(kept.artifact)  # what each level begins with
    for level, place in zip(LEVELS, (0, len(sound) // 2, len(sound) - 2), strict=True):
        for _ in flipped(path, range(place, place + 1)):
            await kept.refused(level)


@pytest.mark.parametrize("level", ["bytes", "contents"])
@pytest.mark.parametrize("victim", ["data", "index"])
async def test_a_bit_flipped_in_the_data_or_the_index_is_found_by_bytes_and_contents(
    kept: Kept, level: str, victim: str
) -> None:
    stored = kept.made.order.objects[0] if victim == "data" else kept.made.order.index
    path, size, order = kept.path(stored.key), stored.size_bytes, kept.order(level)
    step = 1 if IS_FULL else 1 if level == "bytes" else 23
    for places in (range(0, size, step), range(size - 1, size)):
        for _ in flipped(path, places):
            with pytest.raises(IntegrityError):
                verified(order)
    verified(order)
    for _ in flipped(path, range(size // 2, size // 2 + 1)):
        await kept.refused(level)


@full("flips every bit of every object")
@pytest.mark.parametrize("victim", ["data", "index"])
async def test_every_bit_counts(kept: Kept, victim: str) -> None:
    stored = kept.made.order.objects[0] if victim == "data" else kept.made.order.index
    path, order = kept.path(stored.key), kept.order("bytes")
    sound = path.read_bytes()
    for bit in range(8 * len(sound)):
        altered = bytearray(sound)
        altered[bit // 8] ^= 1 << bit % 8
        path.write_bytes(altered)
        with pytest.raises(IntegrityError):
            verified(order)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("victim", ["data", "index", "manifest"])
async def test_a_truncated_a_grown_and_a_missing_object_are_found_at_every_level(
    kept: Kept, level: str, victim: str
) -> None:
    key = {"data": kept.made.order.objects[0].key, "index": kept.made.order.index.key, "manifest": KEY}[victim]
    path = kept.path(key)
    sound = path.read_bytes()
    for altered in (sound[:-1] if victim != "manifest" else sound[:-3], sound[: len(sound) // 2], b"", sound + b"x"):
        path.write_bytes(altered)
        await kept.refused(level)
    path.unlink()
    await kept.refused(level)
    path.write_bytes(sound)
    await kept.job.verify(await kept.remembered(), level="contents")
    assert newest_restorable([await kept.remembered()]) is not None


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("way", ["own key", "the daemon's name", "the daemon's signature", "no signature"])
async def test_what_a_holder_of_the_bucket_and_the_public_key_forges_is_refused_at_every_level(
    kept: Kept, tmp_path: Path, level: str, way: str
) -> None:
    """The forger can encrypt to the recipients, for these are public, and can write anything into the store."""
    forger = StateKeys.load_or_create(tmp_path / "forger").signer
    forged = made(kept.made.root, [folder("."), member("crocbot.json", b'{"a": "evil"}\n')])
    said = described(forged)
    if way in {"own key", "the daemon's name"}:
        claims = None if way == "own key" else kept.parts.keys.signer.public_hex
        written(kept.made.root, said, forger, claims=claims)
    else:
        sound = manifest.parse(kept.path(KEY).read_bytes())
        signature = sound.signature_hex if way == "the daemon's signature" else "00" * 64
        document = manifest.to_document(SignedManifest(said, signature, sound.signer_hex))
        kept.path(KEY).write_bytes(document)

    assert isinstance(await kept.refused(level), SignatureError)
    for number in range(2):  # and no way of looking again makes it count
        await kept.refused(LEVELS[number])
    with pytest.raises(SignatureError):
        await kept.parts.settler.settle(kept.bound["shelf"].store, PREFIX)


@pytest.mark.parametrize("level", LEVELS)
async def test_an_older_artifact_of_the_same_signer_in_the_place_of_a_newer_one_is_refused(
    kept: Kept, level: str
) -> None:
    """Everything is genuine and fits together, and is yesterday's."""
    old = "my-crocbot/crocbot_data/2026/X0"
    yesterday = made(kept.made.root, [folder("."), member("crocbot.json", b"yesterday's")])
    objects = (*yesterday.order.objects, yesterday.order.index)
    there = {each.key: replace(each, key=each.key.replace(PREFIX, old)) for each in objects}
    said = described(yesterday, policy="yesterday")
    said = replace(
        said,
        export_id=ExportId("X0"),
        data=tuple(there[each.key] for each in said.data),
        index=there[said.index.key],
    )
    for key in (KEY, layout.manifest_key(old)):
        kept.path(key).parent.mkdir(exist_ok=True)
        written(kept.made.root, said, kept.parts.keys.signer, key=key)

    with pytest.raises(SignatureError, match="signed for another artifact"):
        await kept.parts.settler.read(kept.bound["shelf"].store, KEY)
    await kept.refused(level)

    written(kept.made.root, described(yesterday), kept.parts.keys.signer)  # even where the place fits
    await kept.refused(level)


async def test_a_failure_stands_until_a_look_as_deep_succeeds(kept: Kept) -> None:
    for _ in flipped(kept.path(kept.made.order.objects[0].key), range(5, 6)):
        await kept.refused("contents")
        await kept.job.verify(await kept.remembered(), level="manifest")
        assert not (await kept.remembered()).satisfies_rpo
    await kept.job.verify(await kept.remembered(), level="bytes")
    assert not (await kept.remembered()).satisfies_rpo
    await kept.job.verify(await kept.remembered(), level="contents")
    assert (await kept.remembered()).satisfies_rpo


async def sampled(kept: Kept, *, budget_bytes: int = 1 << 30) -> Outcome:
    run = await kept.parts.claimed(kind=JobKind.VERIFY, lineage_id=STORES_LINEAGE)
    runner = Runner(
        kept.parts.catalog,
        kept.parts.clock,
        (),
        Jobs(for_target={}, for_org={JobKind.VERIFY: SampledVerification(kept.job, budget_bytes)}),
    )
    return await runner.execute(run)


async def test_a_sample_goes_as_deep_as_the_keys_allow_and_renews_when_it_was_verified(kept: Kept) -> None:
    for identity, level in ((str(OPERATOR), "contents"), (None, "bytes")):
        kept.identity = identity
        await kept.parts.clock.sleep(timedelta(days=7))
        outcome = await sampled(kept)
        report = json.loads(outcome.result_json)
        assert (outcome.state, [one["result"] for one in report["verified"]]) == (RunState.SUCCEEDED, [level])
        assert report["bytes_read"] == stored_bytes(kept.artifact)
        known = await kept.remembered()
        assert (known.verified_level, known.verified_at) == (level, kept.parts.clock.now())


async def test_a_failure_in_a_sample_is_an_incident_with_its_reason_and_counts_no_more(kept: Kept) -> None:
    for _ in flipped(kept.path(kept.made.order.objects[0].key), range(5, 6)):
        outcome = await sampled(kept)
    assert outcome.state is RunState.DEGRADED
    assert newest_restorable([await kept.remembered()]) is None

    async with kept.parts.catalog.transaction() as tx:
        reasons = await failure_reasons(tx, await tx.artifacts())
    facts = VerificationFacts(None, reasons)
    subject = Subject("lineage:x", "my-crocbot/crocbot_data")
    (finding,) = verification_findings(subject, (await kept.remembered(),), facts, now=kept.parts.clock.now())
    assert finding.code is FindingCode.ARTIFACT_FAILED
    assert finding.summary.startswith("Not what was written, and no backup any more: X1 in shelf (the age stream")


async def test_a_store_that_does_not_answer_is_unknown_and_no_failure(kept: Kept) -> None:
    store = MemoryStore("shelf")
    store.fail_with(StoreUnavailableError("not now"))
    kept.outage = store
    outcome = await sampled(kept)
    assert outcome.state is RunState.FAILED  # and tried again, for nothing at all could be read
    assert outcome.failure is not None
    assert outcome.failure.code == "store.unavailable"
    assert (await kept.remembered()) == kept.artifact


async def test_one_store_that_does_not_answer_does_not_stop_the_others(kept: Kept) -> None:
    other = replace(kept.artifact, store="gone")
    async with kept.parts.catalog.transaction() as tx:
        await tx.record_artifact(other)
    kept.outage = MemoryStore("gone")
    kept.outage.fail_with(StoreUnavailableError("not now"))
    outcome = await sampled(kept)
    report = json.loads(outcome.result_json)
    assert outcome.state is RunState.DEGRADED
    assert ([one["store"] for one in report["verified"]], [one["store"] for one in report["unknown"]]) == (
        ["shelf"],
        ["gone"],
    )


async def test_a_key_that_is_for_none_of_the_recipients_is_no_damage(kept: Kept) -> None:
    kept.identity = str(pyrage.x25519.Identity.generate())
    with pytest.raises(ConfigError, match="none of this artifact's recipients"):
        await kept.job.verify(await kept.remembered(), level="contents")
    assert (await kept.remembered()).satisfies_rpo
    assert kept.job.deepest(kept.artifact).value == "bytes"
