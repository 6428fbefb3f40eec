"""`make audit` finds what is known, and never takes silence for an all-clear."""

import json
import sys
import zipfile

import pytest

from tests.audit import __main__ as audit
from tests.audit.advisories import NoAdvisories, compare, is_affected


def advisory(name, number="1", ecosystem="PyPI", **affected):
    return {
        "id": f"GHSA-{number}",
        "modified": "2026-10-01T00:00:00Z",
        "summary": "It can be had.",
        "affected": [{"package": {"name": name, "ecosystem": ecosystem}, **affected}],
    }


def ecosystem_range(*events):
    return {"ranges": [{"type": "ECOSYSTEM", "events": list(events)}]}


FIXED = ecosystem_range({"introduced": "0"}, {"fixed": "1.5"}, {"introduced": "2.0"}, {"fixed": "2.1"})


@pytest.fixture
def dump(tmp_path):
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        known = [
            advisory("Some.Package", versions=["1.0"]),
            advisory("ranged", "2", **FIXED),
            advisory("ranged", "3", ecosystem="npm", **FIXED),
            {**advisory("ranged", "4", **FIXED), "withdrawn": "2026-01-01T00:00:00Z"},
        ]
        for number, one in enumerate(known):
            archive.writestr(f"{number}.json", json.dumps(one))
    return path


@pytest.mark.parametrize(
    ("version", "affected", "meant"),
    [
        ("1.4.9", FIXED, True),
        ("1.5", FIXED, False),
        ("2.0", FIXED, True),
        ("2.1.post1", FIXED, False),
        ("1.5rc1", FIXED, True),
        ("1.10", ecosystem_range({"introduced": "1.2"}, {"last_affected": "1.10"}), True),
        ("1.11", ecosystem_range({"introduced": "1.2"}, {"last_affected": "1.10"}), False),
        ("0.9", ecosystem_range({"introduced": "1.2"}), False),
        ("3", {"versions": ["1", "2"]}, False),
        ("nobody's", FIXED, True),
    ],
)
def test_which_versions_an_advisory_means(version, affected, meant):
    assert is_affected(version, affected) is meant


def test_a_dump_is_compared_without_a_network(dump):
    found = compare(dump, {"some_package": "1.0", "ranged": "2.0.3", "other": "1.0"})
    assert [(one.package, one.advisory, one.fixed) for one in found.findings] == [
        ("some-package", "GHSA-1", ()),
        ("ranged", "GHSA-2", ("1.5", "2.1")),
    ]
    assert (found.count, found.newest) == (2, "2026-10-01")


@pytest.mark.parametrize("content", [None, b"", b"no archive"])
def test_nothing_to_compare_with_is_no_all_clear(tmp_path, content):
    path = tmp_path / "all.zip"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(NoAdvisories, match=r"all\.zip"):
        compare(path, {"a": "1"})


def test_packages_that_a_service_passes_over_are_no_all_clear():
    fine = {"name": "fine", "version": "1", "vulns": []}
    assert audit.judged({"dependencies": [fine]}) == []
    known = {**fine, "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"], "description": "It can be had."}]}
    assert [one.advisory for one in audit.judged({"dependencies": [fine, known]})] == ["PYSEC-1"]
    for answer in ([fine, {"name": "unknown", "skip_reason": "not found"}], []):
        with pytest.raises(NoAdvisories, match="knows nothing of"):
            audit.judged({"dependencies": answer})


@pytest.mark.parametrize(("installed", "code"), [("1.0", audit.FOUND), ("2.0", audit.CLEAN), (None, audit.UNKNOWN)])
def test_the_command(dump, tmp_path, monkeypatch, capsys, installed, code):
    monkeypatch.setattr(audit, "FOLDER", tmp_path / "audit")
    monkeypatch.setattr(audit, "packages", lambda: {"some-package": installed or "1.0"})
    monkeypatch.setattr(sys, "argv", ["audit", "--advisories", str(dump if installed else tmp_path / "none.zip")])
    assert audit.main() == code
    told = capsys.readouterr()
    assert ("NOT AUDITED" in told.err) is (code == audit.UNKNOWN)
    assert ("not covered: Triton" in told.out) is (code != audit.UNKNOWN)
    assert (tmp_path / "audit" / "resolved.txt").read_text() == f"some-package=={installed or '1.0'}\n"
