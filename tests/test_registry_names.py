"""Names of versions say the order of their publishing, whatever the clock says; and what publishing writes of them."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest
from test_registry_store import make_base, make_card, publish, stage

from mla_extend.registry import publish as publishing
from mla_extend.registry.card import SCHEMA
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


def test_versions_of_one_second_stand_in_the_order_of_their_publishing(base: BaseRegistry) -> None:
    names = [publish(base, "sw", seed, replace=True).name for seed in range(12)]
    assert [version.name for version in base.versions("sw")] == names
    assert len({name[:20] for name in names}) < 12  # several in one second


def test_a_clock_that_is_set_back_puts_no_new_version_before_an_old_one(
    base: BaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 11, 24, 10, 15, 3, tzinfo=UTC)
    monkeypatch.setattr(publishing, "datetime", Clock)
    names = []
    for moment in (now, now - timedelta(days=400), now + timedelta(seconds=1)):
        Clock.times = [moment]
        names.append(publish(base, "sw", replace=True).name)
    assert names == sorted(names)
    assert names[1].startswith("2026-11-24T10-15-03Z-")
    assert all(map(is_version_name, names))
    assert base.card("sw", names[1]).created.startswith("2025-10-20")
    assert verify(base.folder.parent) == []


def test_a_second_that_is_full_is_waited_out(base: BaseRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 11, 24, 10, 15, 3, tzinfo=UTC)
    monkeypatch.setattr(publishing, "datetime", Clock)
    Clock.times = [now]
    version = publish(base, "sw")
    version.folder.rename(version.folder.with_name("2026-11-24T10-15-03Z-ffff"))
    Clock.times = [now, now, now, now + timedelta(seconds=1)]
    assert publish(base, "sw", replace=True).name.startswith("2026-11-24T10-15-04Z-")


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
