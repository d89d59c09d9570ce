"""Datasets from a local folder, from the Hub and from its cache; the network is never reached."""

import json
from types import SimpleNamespace

import datasets
import httpx2
import huggingface_hub
import pytest
from huggingface_hub import errors as hub_errors

from saber.errors import PromptError
from saber.prompts import load_prompts
from saber.prompts.hub import HubSpec, parse_hub_spec

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def fill(folder, **splits):
    folder.mkdir(parents=True, exist_ok=True)
    for name, texts in splits.items():
        rows = "".join(json.dumps({"goal": text, "category": "c"}) + "\n" for text in texts)
        (folder / f"{name}.jsonl").write_text(rows)
    return folder


def hub(monkeypatch, outcome):
    """Replace the Hub by an answer or an error; returns the calls it got."""
    calls = []

    def dataset_info(self, repo, *, revision=None, timeout=None):
        calls.append((repo, revision))
        if isinstance(outcome, Exception):
            raise outcome
        return SimpleNamespace(sha=outcome)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    return calls


def http_failure(kind):
    response = httpx2.Response(404, request=httpx2.Request("GET", "http://hub.invalid"))
    return kind("no", response=response)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("hf:org/name", HubSpec("org/name", None, None, None)),
        ("hf:org/name[train]:goal", HubSpec("org/name", None, "train", "goal")),
        ("hf:org/name@v1.0[test]:my col", HubSpec("org/name", "v1.0", "test", "my col")),
        ("hf:org/name[train[:10%]]", HubSpec("org/name", None, "train[:10%]", None)),
        ("hf:org/name/config:goal", HubSpec("org/name/config", None, None, "goal")),
    ],
)
def test_specifications(spec, expected):
    assert parse_hub_spec(spec) == expected


@pytest.mark.parametrize("spec", ["hf:", "hf:org/name[train", "hf:org/name:", "hf:org/name@[train]"])
def test_malformed_specifications(spec):
    with pytest.raises(PromptError, match="Cannot read the prompt source") as caught:
        load_prompts(spec, "harmful")
    assert "hf:org/name[split]:column" in caught.value.hint


def test_local_folder(tmp_path):
    folder = fill(tmp_path / "data", train=["one", "two"], test=["three"])
    loaded = load_prompts(f"hf:{folder}[test]:goal", "harmful")
    assert loaded.texts == ("three",)
    assert loaded.prompts[0].category == "c"
    assert loaded.revision is None
    assert load_prompts(f"hf:{folder}[train[:1]]:goal", "harmful").texts == ("one",)


def test_a_single_split_needs_no_name(tmp_path):
    folder = fill(tmp_path / "data", train=["one", "two"])
    assert load_prompts(f"hf:{folder}:goal", "harmful").texts == ("one", "two")


@pytest.mark.parametrize(
    ("suffix", "message", "hint"),
    [
        (":goal", "has 2 splits: train, test", "[train]"),
        ("[dev]:goal", 'Unknown split "dev"', "[split]"),
        ("[train]", "no column 'prompt'; columns found: goal, category", "SOURCE:column"),
        ("@main[train]:goal", "has no revision 'main'", "Leave out @main"),
    ],
)
def test_local_folder_errors(tmp_path, suffix, message, hint):
    folder = fill(tmp_path / "data", train=["one", "two"], test=["three"])
    with pytest.raises(PromptError) as caught:
        load_prompts(f"hf:{folder}{suffix}", "harmful")
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_folder_without_data(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(PromptError, match="Cannot load the dataset"):
        load_prompts(f"hf:{tmp_path / 'data'}", "harmful")


def test_hub_commit_is_resolved_pinned_and_recorded(tmp_path, monkeypatch):
    calls = hub(monkeypatch, COMMIT)
    loads = []

    def load_dataset(path, name, *, split, revision):
        loads.append((path, name, split, revision))
        return datasets.Dataset.from_list([{"goal": "one"}])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    loaded = load_prompts("hf:org/name/hard@v2[train]:goal", "harmful")
    assert calls == [("org/name", "v2")]
    assert loads == [("org/name", "hard", "train", COMMIT)]
    assert (loaded.revision, loaded.texts) == (COMMIT, ("one",))


@pytest.mark.parametrize("revision", ["", "@v2", f"@{COMMIT}"])
@pytest.mark.parametrize(
    "failure", [httpx2.ConnectError("no"), hub_errors.OfflineModeIsEnabled("no"), httpx2.ReadTimeout("no")]
)
def test_offline_uses_the_cached_snapshot(tmp_path, monkeypatch, revision, failure):
    hub(monkeypatch, failure)
    cached = tmp_path / "hub-cache" / "datasets--org--name"
    fill(cached / "snapshots" / COMMIT, train=["cached"])
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT)
    (cached / "refs" / "v2").write_text(COMMIT)
    loaded = load_prompts(f"hf:org/name{revision}[train]:goal", "harmful")
    assert (loaded.revision, loaded.texts) == (COMMIT, ("cached",))


def test_offline_without_a_cache_says_that_the_commit_is_unknown(monkeypatch):
    hub(monkeypatch, httpx2.ConnectError("no"))
    with pytest.raises(PromptError, match="its commit is unknown") as caught:
        load_prompts("hf:org/name", "harmful")
    assert "hf download --repo-type dataset org/name" in caught.value.hint


@pytest.mark.parametrize(
    ("failure", "message", "hint"),
    [
        (hub_errors.RepositoryNotFoundError, "does not exist on the Hub", "hf auth login"),
        (hub_errors.GatedRepoError, "is gated", "Accept its terms"),
        (hub_errors.RevisionNotFoundError, "has no revision 'v9'", "commits"),
    ],
)
def test_hub_errors(monkeypatch, failure, message, hint):
    hub(monkeypatch, http_failure(failure))
    with pytest.raises(PromptError) as caught:
        load_prompts("hf:org/name@v9", "harmful")
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_invalid_hub_id(monkeypatch):
    hub(monkeypatch, hub_errors.HFValidationError("bad id"))
    with pytest.raises(PromptError, match="neither a Hub id nor a folder") as caught:
        load_prompts("hf:./nowhere", "harmful")
    assert "folder" in caught.value.hint


def test_hub_without_a_commit(monkeypatch):
    hub(monkeypatch, None)
    with pytest.raises(PromptError, match="does not say which commit") as caught:
        load_prompts("hf:org/name", "harmful")
    assert "hf:org/name@" in caught.value.hint
