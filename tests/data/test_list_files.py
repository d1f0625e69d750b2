"""Where official lists lie: a user's copy is checked whole before it is copied, and a download fails with a remedy."""

from __future__ import annotations

import io
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest

from fasbench.data.lists import folder as lists
from fasbench.data.lists.folder import Needed
from fasbench.data.spec import ListFile, ListsSource
from fasbench.errors import DataError
from fasbench.protocol import load_protocol
from fasbench.registry import protocols
from fasbench.resources import lists_root, sha256

SOURCE = ListsSource(repository="someone/lists", commit="c0ffee" + "0" * 34)
CONTENT = {"Bench/A-train.txt": b"one\n", "Bench/A-test.txt": b"two\n"}
REMEDY = "get it by 'fasbench data lists' (https://github.com/someone/lists at commit c0ffee000000)"


def needed(source: ListsSource | None = SOURCE) -> list[Needed]:
    return [Needed(ListFile(file=file, sha256=sha256(content)), source) for file, content in CONTENT.items()]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A user's copy, in the authors' layout."""
    for file, content in CONTENT.items():
        path = tmp_path / "checkout" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "checkout"


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_lists_lie_where_the_environment_says_or_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("FASBENCH_LISTS", str(tmp_path))
    assert lists_root() == tmp_path
    monkeypatch.delenv("FASBENCH_LISTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert lists_root() == tmp_path / "fasbench" / "lists"


# --- copying ----------------------------------------------------------------------------------------------------------


def test_a_checkout_is_copied_once(checkout, tmp_path):
    target = tmp_path / "cache"
    assert lists.copy_lists(checkout, target, needed()) == 2
    assert files(target) == CONTENT
    assert lists.copy_lists(checkout, target, needed()) == 0
    lists.check_lists(target, needed())


@pytest.mark.parametrize("folder", ["", "other-name"])
def test_a_folder_that_holds_the_files_themselves_will_do_and_one_above_it(checkout, tmp_path, folder):
    source = tmp_path / "here" / folder
    source.parent.mkdir(exist_ok=True)
    (checkout / "Bench").rename(source)
    lists.copy_lists(tmp_path / "here", tmp_path / "cache", needed())
    assert files(tmp_path / "cache") == CONTENT


def test_of_several_repositories_those_that_a_folder_has_anything_of(checkout, tmp_path):
    elsewhere = Needed(ListFile(file="Other/B@1.txt", sha256="b" * 64), None)
    assert lists.lists_at(checkout, [*needed(), elsewhere]) == needed()
    assert lists.lists_at(tmp_path / "nowhere", [*needed(), elsewhere]) == [*needed(), elsewhere]
    (checkout / "Bench" / "A-test.txt").unlink()  # of one repository all are wanted
    assert lists.lists_at(checkout, [*needed(), elsewhere]) == needed()


def test_a_differing_list_in_the_cache_is_replaced(checkout, tmp_path):
    path = tmp_path / "cache" / "Bench" / "A-test.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"edited\n")
    assert lists.copy_lists(checkout, tmp_path / "cache", needed()) == 2
    assert path.read_bytes() == CONTENT["Bench/A-test.txt"]


def test_a_list_that_differs_is_named_with_both_hashes_and_nothing_is_copied(checkout, tmp_path):
    path = checkout / "Bench" / "A-test.txt"
    edited, sound = b"edited\n", CONTENT["Bench/A-test.txt"]
    path.write_bytes(edited)
    (checkout / "Bench" / "A-train.txt").unlink()
    with pytest.raises(DataError) as caught:
        lists.copy_lists(checkout, tmp_path / "cache", needed())
    assert str(caught.value).splitlines() == [
        f"{checkout}: not the 2 lists of the protocols",
        f"  - {path}: list differs: expected sha256 {sha256(sound)}, found {sha256(edited)}, {REMEDY}",
        f"  - {checkout}: no Bench/A-train.txt: {REMEDY}",
    ]
    assert not (tmp_path / "cache").exists()


def test_missing_lists_are_named_together_and_without_a_source_their_authors_are(tmp_path):
    with pytest.raises(DataError, match=r"no Bench/A-train\.txt, Bench/A-test\.txt: get it from its authors"):
        lists.check_lists(tmp_path, needed(None))


def test_protocols_that_name_a_list_twice_need_it_once():
    found = lists.bundled_lists()
    assert len({item.list.file for item in found}) == len(found) == 18
    one = load_protocol(protocols()["mmdg/fixed"])
    assert lists.needed_lists([one, one]) == lists.needed_lists([one])


# --- downloading ------------------------------------------------------------------------------------------------------


@pytest.fixture
def web(monkeypatch) -> dict[str, bytes | Exception]:
    """What each URL answers; anything else is not found."""
    answers: dict[str, bytes | Exception] = {SOURCE.url(file): content for file, content in CONTENT.items()}

    def urlopen(url: str, timeout: float) -> io.BytesIO:
        answer = answers.get(url, HTTPError(url, 404, "Not Found", {}, None))  # type: ignore[arg-type]
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer)

    monkeypatch.setattr(lists, "urlopen", urlopen)
    return answers


def test_a_url_names_the_commit():
    assert SOURCE.url("Bench/A.txt") == f"https://raw.githubusercontent.com/someone/lists/{SOURCE.commit}/Bench/A.txt"


def test_what_is_missing_is_downloaded(web, tmp_path):
    assert lists.download_lists(tmp_path, needed()) == 2
    assert files(tmp_path) == CONTENT
    web.clear()  # everything is there: nobody asks
    assert lists.download_lists(tmp_path, needed()) == 0


def test_a_download_that_differs_is_not_kept_and_the_sound_ones_are(web, tmp_path):
    url = SOURCE.url("Bench/A-test.txt")
    web[url] = b"edited\n"
    with pytest.raises(DataError) as caught:
        lists.download_lists(tmp_path, needed())
    title, problem = str(caught.value).splitlines()
    assert title == (
        f"1 of 2 lists could not be downloaded, the others are in {tmp_path}; give your own copy by --from PATH"
    )
    assert problem.startswith(f"  - {url}: list differs: expected sha256 {sha256(CONTENT['Bench/A-test.txt'])}, found ")
    assert list(files(tmp_path)) == ["Bench/A-train.txt"]


def test_lists_that_are_gone_are_reported_together(web, tmp_path):
    web.clear()
    with pytest.raises(DataError) as caught:
        lists.download_lists(tmp_path, needed())
    assert str(caught.value).count("404 Not Found") == 2


@pytest.mark.parametrize("error", [URLError("no route"), TimeoutError("no route"), ConnectionResetError("no route")])
def test_without_a_network_the_remedy_is_named_at_once(web, tmp_path, error):
    web[SOURCE.url("Bench/A-train.txt")] = error
    with pytest.raises(DataError) as caught:
        lists.download_lists(tmp_path, needed())
    assert str(caught.value) == (
        f"{SOURCE.url('Bench/A-train.txt')} cannot be downloaded: no route. Try again with a network, or clone "
        "https://github.com/someone/lists at commit c0ffee000000 on another machine and run: "
        "fasbench data lists --from PATH"
    )
    assert files(tmp_path) == {}


def test_a_list_nobody_says_where_to_get(web, tmp_path):
    with pytest.raises(DataError, match=r"A-test\.txt: no lists_source in the protocol, get it from its authors"):
        lists.download_lists(tmp_path, needed(None))


# --- ground truth -----------------------------------------------------------------------------------------------------


def test_of_the_ground_truth_only_what_is_needed_is_copied(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text("trial_id,gender,ground_truth,participant_id,race\n00000001,x,m00000,p1,y\n")
    assert lists.find_ground_truth(tmp_path / "cache") is None
    assert lists.copy_ground_truth(path, tmp_path / "cache") == 1
    copied = lists.find_ground_truth(tmp_path / "cache")
    assert copied is not None and copied.read_text() == "trial_id,ground_truth,participant_id\n00000001,m00000,p1\n"
