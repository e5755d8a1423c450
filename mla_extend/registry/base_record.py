"""Which base a folder of languages belongs to: `base.json`."""

from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from mla_extend.bases.identity import BaseIdentity
from mla_extend.errors import RegistryError
from mla_extend.files import read_json, write_json
from mla_extend.plain import first_line
from mla_extend.registry.layout import BASE_FILE

SCHEMA = 1


def read_base(folder: Path) -> BaseIdentity:
    """Read which base a folder belongs to.

    Raises:
        RegistryError: `base.json` is not there, is damaged, or a later version of this package wrote it.
    """
    path = folder / BASE_FILE
    try:
        values = read_json(path)
    except (OSError, ValueError) as error:
        raise RegistryError(f"{path} cannot be read ({first_line(error)}). {_REMEDY}") from error
    if not isinstance(values, dict):
        raise RegistryError(f"{path} holds {type(values).__name__}, not an object. {_REMEDY}")
    if values.get("schema") != SCHEMA:
        raise RegistryError(
            f"{path} has schema {str(values.get('schema'))[:80]}, and this version reads {SCHEMA}. Upgrade: "
            "pip install --upgrade mla-extend"
        )
    needed = ("name", "source", "family", "fingerprint", "native")
    missing = [name for name in needed if not isinstance(values.get(name), str)]
    missing += [name for name in ("licence", "created") if not isinstance(values.get(name) or "", str)]
    if missing:
        raise RegistryError(f"{path} does not say {', '.join(missing)}. {_REMEDY}")
    return BaseIdentity(**{item.name: values[item.name] for item in fields(BaseIdentity) if item.name in values})


def write_base(folder: Path, record: BaseIdentity) -> None:
    """Write which base a folder belongs to, with the time."""
    stamped = replace(record, created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
    write_json(folder / BASE_FILE, {"schema": SCHEMA, **asdict(stamped)})


_REMEDY = "Take it from a backup, or from another registry of the same base."
