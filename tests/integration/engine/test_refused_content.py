"""What StackStorm does not register, the engine does not load either."""

from __future__ import annotations

from pathlib import Path

from stormcell.bootstrap import Settings, load_catalog
from stormcell.store.store import open_store

FILES = {
    "pack.yaml": (
        "name: sample\ndescription: d\nversion: 0.1.0\nauthor: a\nemail: a@example.org\n"
    ),
    "triggers/listed.yaml": (
        "name: listed\nparameters_schema: {type: object, required: [a]}\n"  # a list: refused
    ),
    "triggers/sized.yaml": (
        "name: sized\n"
        "parameters_schema: {type: object, properties: {size: {type: integer, required: true}}}\n"
    ),
    "rules/fits.yaml": (
        "name: fits\ntrigger: {type: sample.sized, parameters: {size: 1}}\n"
        "action: {ref: core.noop}\n"
    ),
    "rules/big.yaml": (
        "name: big\ntrigger: {type: sample.sized, parameters: {size: big}}\n"
        "action: {ref: core.noop}\n"
    ),
    "rules/lost.yaml": "name: lost\ntrigger: {type: sample.listed}\naction: {ref: core.noop}\n",
}


def test_refused_trigger_types_and_rules_are_left_out(tmp_path: Path) -> None:
    """The rest of the pack is there."""
    pack = tmp_path / "sample"
    for name, text in FILES.items():
        file = pack / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    store = open_store(tmp_path / "data")
    try:
        catalog = load_catalog(Settings(packs=(pack,), data=tmp_path / "data"), store.overrides)
    finally:
        store.close()
    content = catalog.content
    assert [ref for ref in content.rules if ref.startswith("sample.")] == ["sample.fits"]
    assert [ref for ref in content.trigger_types if ref.startswith("sample.")] == ["sample.sized"]
