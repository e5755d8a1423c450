"""Versions stand in the order of their publishing, whatever the clock and their names say; and what is written."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest
from test_registry_store import make_base, make_card, publish, stage

from mla_extend.registry import publish as publishing
from mla_extend.registry.card import SCHEMA
from mla_extend.registry.history import record_of
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.layout import is_version_name
from mla_extend.registry.verify import verify

NOW = datetime(2026, 11, 24, 10, 15, 3, tzinfo=UTC)


@pytest.fixture
def base(tmp_path: Any) -> BaseRegistry:
    return make_base(tmp_path)


class Clock(datetime):
    """Tell the times that it was given, then go on from the last."""

    times: list[datetime] = []  # noqa: RUF012 - each test sets it
    here: tzinfo = UTC

    @classmethod
    def now(cls, tz: Any = None) -> "Clock":
        moment = cls.times.pop(0) if len(cls.times) > 1 else cls.times[0]
        return cls.fromtimestamp(moment.timestamp(), tz or cls.here)


def test_versions_of_one_second_stand_in_the_order_of_their_publishing(
    base: BaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "datetime", Clock)
    Clock.times = [NOW]
    names = [publish(base, "sw", seed, replace=True).name for seed in range(12)]
    assert [version.name for version in base.versions("sw")] == names
    assert len({name[:20] for name in names}) == 1


def test_a_clock_that_is_set_back_puts_no_new_version_before_an_old_one(
    base: BaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "datetime", Clock)
    names = []
    for moment in (NOW, NOW - timedelta(days=400), NOW + timedelta(seconds=1)):
        Clock.times = [moment]
        names.append(publish(base, "sw", replace=True).name)
    assert names[1].startswith("2025-10-20T10-15-03Z-")
    assert base.card("sw", names[1]).created.startswith("2025-10-20")
    assert [version.name for version in base.versions("sw")] == names
    assert [base.find("sw", f"v{number}").name for number in (1, 2, 3)] == names
    assert base.earlier("sw").name == names[1]
    assert [version.name for version in base.old_versions("sw", 2)] == names[:1]
    assert verify(base.folder.parent) == []


def test_a_name_from_a_far_year_stops_no_later_publish(base: BaseRegistry) -> None:
    """As one may come from elsewhere, or from a clock that was wrong."""
    first = publish(base, "sw").name
    far = "9999-12-31T23-59-59Z-ffff"
    publishing.put(base.folder / "sw", stage(base, "sw"), "sw", far)
    last = publish(base, "sw", replace=True).name
    assert [version.name for version in base.versions("sw")] == [first, far, last]
    assert base.earlier("sw").name == far


def test_without_its_record_versions_stand_in_the_order_of_their_names(base: BaseRegistry) -> None:
    first = publish(base, "sw").name
    publishing.put(base.folder / "sw", stage(base, "sw"), "sw", "2020-01-01T00-00-00Z-0000")
    record_of(base.folder, "sw").write_text("no record")
    assert [version.name for version in base.versions("sw")] == ["2020-01-01T00-00-00Z-0000", first]


@pytest.mark.parametrize(
    "name",
    [
        "2026-99-24T10-15-03Z-3f9a",
        "2026-02-30T10-15-03Z-3f9a",
        "2026-11-24T10-60-03Z-3f9a",
        "٢٠٢٦-11-24T10-15-03Z-3f9a",
        "2026-11-24T10-15-03Z-3F9A",
    ],
)
def test_what_is_no_moment_names_no_version(base: BaseRegistry, name: str) -> None:
    assert is_version_name("2026-02-28T10-15-03Z-3f9a")
    assert not is_version_name(name)
    publish(base, "sw")
    (base.folder / "sw" / name).mkdir()
    assert len(base.versions("sw")) == 1


def test_a_second_whose_last_digits_are_taken_has_others_left(
    base: BaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "datetime", Clock)
    Clock.times = [NOW]
    version = publish(base, "sw")
    version.folder.rename(version.folder.with_name("2026-11-24T10-15-03Z-ffff"))
    assert publish(base, "sw", replace=True).name == "2026-11-24T10-15-03Z-0000"


def test_a_new_second_begins_in_the_lower_half_of_the_digits(
    base: BaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that thousands more fit into it; the next of the same second has the next number."""
    monkeypatch.setattr(publishing, "datetime", Clock)
    Clock.times = [NOW]
    highest = []
    monkeypatch.setattr(publishing.secrets, "randbelow", lambda below: highest.append(below) or below - 1)
    names = [publish(base, "sw", replace=True).name for _ in range(3)]
    assert names == [f"2026-11-24T10-15-03Z-{digits}" for digits in ("7fff", "8000", "8001")]
    assert highest == [0x8000]


def test_the_last_digits_of_a_second_are_used(base: BaseRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "datetime", Clock)
    Clock.times = [NOW]
    version = publish(base, "sw")
    version.folder.rename(version.folder.with_name("2026-11-24T10-15-03Z-fffe"))
    assert publish(base, "sw", replace=True).name == "2026-11-24T10-15-03Z-ffff"


def test_other_things_beside_the_versions_have_no_say(base: BaseRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "datetime", Clock)
    Clock.times = [NOW]
    publish(base, "sw")
    (base.folder / "sw" / "z-notes").mkdir()
    assert publish(base, "sw", replace=True).name > "2026-11-24T10-15-03Z-0000"
    assert is_version_name(base.current("sw").name)


def test_the_card_says_when_in_utc_and_how_large(base: BaseRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and bytes that the caller's card names do not count, nor what is written of the version itself."""
    monkeypatch.setattr(publishing, "datetime", Clock)
    monkeypatch.setattr(Clock, "here", timezone(timedelta(hours=9)))
    Clock.times = [NOW]
    staged = stage(base, "sw")
    (staged / "README.md").write_text("an older one")
    (staged / "card.json").write_text("{}")
    stale = make_card("sw", created="2020-01-01T00:00:00Z", bytes=1, files={"gone.json": "0" * 64}, schema=0)
    version = base.publish("sw", staged, stale, prove=lambda folder: {"ok": True})
    card = base.card("sw")
    assert (card.created, card.schema, card.version, card.isolation) == (
        "2026-11-24T10:15:03Z",
        SCHEMA,
        version.name,
        {"ok": True},
    )
    assert card.bytes == sum((version.folder / name).stat().st_size for name in card.files if name != "README.md")
    assert set(card.files) == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    assert verify(base.folder.parent) == []
