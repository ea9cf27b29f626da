"""A defect is told by its kind and its places; its words and values stay where they are."""

from flykeep.domain.defects import kind_of, places_of

SECRET = "fm2_secret"


def failing(error: Exception, *, cause: Exception | None = None) -> Exception:
    held = [SECRET]
    try:
        raise error from cause
    except Exception as caught:  # noqa: BLE001 - whatever the test hands in
        assert held
        return caught


def test_a_kind_names_the_members_of_a_group() -> None:
    group = ExceptionGroup("words", [ValueError(SECRET), ExceptionGroup("more", [KeyError(SECRET)])])
    assert kind_of(group) == "ExceptionGroup of ValueError, ExceptionGroup of KeyError"


def test_places_are_told_without_words_and_values() -> None:
    told = places_of(failing(ValueError(SECRET)))
    assert __file__ in told
    assert told.endswith("ValueError\n")
    assert SECRET not in told


def test_the_cause_comes_first() -> None:
    told = places_of(failing(ValueError(SECRET), cause=failing(KeyError(SECRET))))
    assert told.index("KeyError\n") < told.index("ValueError\n")
    assert SECRET not in told


def test_what_was_cut_off_on_purpose_stays_cut_off() -> None:
    error = failing(ValueError(SECRET))
    error.__context__, error.__suppress_context__ = failing(KeyError(SECRET)), True
    assert "KeyError\n" not in places_of(error)
    error.__suppress_context__ = False
    assert "KeyError\n" in places_of(error)


def test_each_member_of_a_group_is_told_with_its_places() -> None:
    told = places_of(ExceptionGroup("words", [failing(ValueError(SECRET)), failing(KeyError(SECRET))]))
    assert told.count("in failing") == 2
    assert SECRET not in told
