"""The house is as docs/architecture.md draws it: each module has a row, and imports run down and in no circle."""

from __future__ import annotations

import configparser
import graphlib
import re
from collections.abc import Iterator

import grimp

from tests.servers import PROJECT

PACKAGE = PROJECT / "wxlogin"
PAGE = (PROJECT / "docs/architecture.md").read_text(encoding="utf-8")


def rows_of(heading: str) -> list[str]:
    """Return the names in the first column of the table below a heading."""
    section = PAGE.partition(f"\n{heading}\n")[2].partition("\n#")[0]
    return re.findall(r"^\| `([^|]+)` \| .", section, re.MULTILINE)


def modules_on_the_map() -> Iterator[str]:
    for room in re.findall(r"^### `(wxlogin/[a-z/]*)`$", PAGE, re.MULTILINE):
        yield from (f"{room}{name}.py" for name in rows_of(f"### `{room}`"))


def test_each_module_is_on_the_map_once() -> None:
    modules = [str(path.relative_to(PROJECT)) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]

    assert sorted(modules_on_the_map()) == sorted(modules)


def test_each_room_is_a_layer_of_the_table_from_top_to_bottom() -> None:
    config = configparser.ConfigParser()
    config.read(PROJECT / "setup.cfg")
    layers = config["importlinter:contract:layers"]["layers"].split("\n")

    drawn = [row.replace("`, `", " | ") for row in rows_of("## The layers")]

    assert drawn == [layer for layer in layers if layer not in {"", "__main__"}]


def test_the_package_has_as_many_entries_as_a_reader_can_take_in() -> None:
    entries = {path.name for path in PACKAGE.iterdir()} - {"__pycache__"}

    assert len(entries) == 15, sorted(entries)


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph("wxlogin", cache_dir=None)

    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}

    assert list(graphlib.TopologicalSorter(imports).static_order())
