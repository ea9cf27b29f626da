"""The first configuration is one that can run, whatever was answered."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.settings import check_settings, load_settings
from flykeep.settings.starter import StarterAnswers, starter_text

RECIPIENT = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
IMAGE = f"registry.fly.io/my-flykeep@sha256:{'5' * 64}"


def answers(**changes: object) -> StarterAnswers:
    given: dict[str, object] = {
        "org": "personal",
        "apps": ("shop",),
        "store": "acme-backups",
        "endpoint": None,
        "recipients": (RECIPIENT,),
        "image": None,
        "scratch_app": "flykeep-scratch",
    }
    return StarterAnswers(**(given | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"store": "/mnt/shelf"},
        {"endpoint": "https://account.r2.cloudflarestorage.com"},
        {"recipients": ()},
        {"image": IMAGE, "scratch_app": "elsewhere"},
        {"apps": ("*", "shop/shop_data", "wiki")},
    ],
    ids=["a bucket", "a folder", "another service", "in the clear", "an image", "several apps"],
)
def test_it_passes_its_own_check(tmp_path: Path, changes: dict[str, object]) -> None:
    path = tmp_path / "config.toml"
    path.write_text(starter_text(answers(**changes)))
    settings = load_settings(path, {})
    assert [problem for problem in check_settings(settings) if problem.level == "error"] == []
    assert settings.fly.org == "personal"
    assert list(settings.stores) == ["offsite"]
    assert settings.worker.image == changes.get("image")
    assert settings.encryption.recipients == changes.get("recipients", (RECIPIENT,))
    named = changes.get("apps", ("shop",))
    assert isinstance(named, tuple)
    assert [rule.match for rule in settings.targets] == [name if "/" in name else f"{name}/*" for name in named]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_an_answer_is_never_more_than_a_value(text: str) -> None:
    read = tomllib.loads(starter_text(answers(org=text, store=f"/{text}", scratch_app=text, apps=(f"a/{text}",))))
    assert read["fly"]["org"] == text
    assert read["stores"]["offsite"]["path"] == f"/{text}"
    assert read["scratch"]["app"] == text
    assert read["targets"][0]["match"] == f"a/{text}"
