"""Pictures of the documents show what the code draws."""

from __future__ import annotations

import importlib.util
import json
import re
from html import unescape
from pathlib import Path
from types import ModuleType

DOCS = Path(__file__).parents[2] / "docs"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / "pictures" / f"{name}.py")
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def texts(picture: Path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", picture.read_text())


def test_the_live_view_is_as_it_is_drawn(tmp_path: Path):
    script("live_view").main(tmp_path / "drawn.svg")
    assert texts(tmp_path / "drawn.svg") == texts(DOCS / "pictures" / "live-view.svg")


def test_the_dashboard_is_drawn_with_all_of_its_panels():
    dashboard = json.loads((DOCS.parent / "deploy" / "grafana" / "rover.json").read_text())
    titles = {panel["title"] for panel in dashboard["panels"]}
    assert titles <= {unescape(text) for text in texts(DOCS / "pictures" / "dashboard.svg")}


def test_a_picture_fetches_nothing_from_elsewhere():
    for picture in (DOCS / "pictures").glob("*.svg"):
        assert re.findall(r"(?:url\(|href=)[\"']?(?!#)", picture.read_text()) == []


def test_every_picture_that_a_document_shows_is_there_and_every_picture_is_shown():
    named = {
        name
        for document in DOCS.glob("*.md")
        for name in re.findall(r"\(pictures/([\w.-]+)\)", document.read_text())
    }
    kept = {file.name for file in (DOCS / "pictures").iterdir() if file.suffix in {".png", ".svg"}}
    assert named == kept
