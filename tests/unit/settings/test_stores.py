"""What [stores.NAME] means: how a process opens the store, and what its operator says of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flykeep.domain.stores import StoreTraits
from flykeep.settings import InvalidSettingsError, Level, Settings, check_settings

Load = Callable[..., Settings]
Change = Callable[[str, str], str]

SECRETS = {"OFFSITE_KEY_ID": "id", "OFFSITE_KEY": "secret"}
BUCKET = 'bucket = "acme-backups"'
PLAIN = StoreTraits()
TIGRIS = "https://fly.storage.tigris.dev"


def loaded(load: Load, changed: Change, *lines: str) -> Settings:
    return load(changed(BUCKET, "\n".join([BUCKET, *lines])), SECRETS)


def test_a_bucket_that_says_nothing_is_written_to_as_it_is(load: Load) -> None:
    settings = load(environ=SECRETS)
    order = settings.store_order("offsite")
    assert (order.server_side_encryption, order.kms_key_id, order.data_storage_class) == (None, None, None)
    assert not order.is_locking
    assert settings.stores["offsite"].traits == PLAIN


def test_every_wish_reaches_the_process_that_opens_the_store(load: Load, changed: Change) -> None:
    wishes = ('sse = "aws:kms"', 'sse_kms_key_id = "alias/backups"', 'storage_class = "GLACIER_IR"')
    settings = loaded(load, changed, *wishes, 'object_lock = "required"', 'deletes = "refused"', "path_style = false")
    order = settings.store_order("offsite")
    assert (order.server_side_encryption, order.kms_key_id) == ("aws:kms", "alias/backups")
    assert (order.data_storage_class, order.is_locking, order.is_path_style) == ("GLACIER_IR", True, False)
    assert settings.stores["offsite"].traits == StoreTraits(is_lock_required=True, are_deletes_refused=True)


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        (('sse = "rot13"',), "stores.offsite.sse"),
        (('sse_kms_key_id = "k"',), "stores.offsite"),
        (('sse = "AES256"', 'sse_kms_key_id = "k"'), "stores.offsite"),
        (('storage_class = "DEEP_ARCHIVE"',), "stores.offsite.storage_class"),
        (('object_lock = "maybe"',), "stores.offsite.object_lock"),
        (('deletes = "sometimes"',), "stores.offsite.deletes"),
    ],
)
def test_what_no_store_can_do_is_refused(load: Load, changed: Change, lines: tuple[str, ...], key: str) -> None:
    with pytest.raises(InvalidSettingsError) as caught:
        loaded(load, changed, *lines)
    assert [problem.key for problem in caught.value.problems] == [key]


@pytest.mark.parametrize(
    ("lines", "is_on_platform"),
    [
        ((f'endpoint = "{TIGRIS}"',), True),
        (('endpoint = "https://acme-backups.fly.storage.tigris.dev/"', "path_style = false"), True),
        (('endpoint = "https://FLY.storage.TIGRIS.dev.:443"',), True),
        (('endpoint = "https://tigris.dev.example.com"',), False),
        (('endpoint = "https://nottigris.dev"',), False),
        (('endpoint = "https://0123.r2.cloudflarestorage.com"',), False),
        ((), False),
        ((f'endpoint = "{TIGRIS}"', "on_platform = false"), False),
        (("on_platform = true",), True),
    ],
)
def test_a_tigris_bucket_is_on_the_platform_unless_somebody_knows_better(
    load: Load, changed: Change, lines: tuple[str, ...], is_on_platform: bool
) -> None:
    settings = loaded(load, changed, *lines)
    assert settings.stores["offsite"].traits.is_on_platform is is_on_platform
    assert [copy.is_on_platform for copy in settings.targets[0].policy.copies] == [is_on_platform]


def test_copies_that_all_stay_on_the_platform_are_a_warning(load: Load, changed: Change) -> None:
    alone = loaded(load, changed, f'endpoint = "{TIGRIS}"')
    assert [key for key in warned(alone) if key.endswith("copies")] == ["policies.standard.copies"]
    elsewhere = '[stores.shelf]\ntype = "directory"\npath = "/mnt"\n[[policies.standard.copies]]\nstore = "shelf"\n'
    text = changed(BUCKET, f'{BUCKET}\nendpoint = "{TIGRIS}"') + elsewhere
    assert [key for key in warned(load(text, SECRETS)) if key.endswith("copies")] == []
    volume = text.replace('path = "/mnt"', 'path = "/data"\non_platform = true')
    assert [key for key in warned(load(volume, SECRETS)) if key.endswith("copies")] == ["policies.standard.copies"]


def warned(settings: Settings) -> list[str]:
    return [problem.key for problem in check_settings(settings) if problem.level is Level.WARNING]
