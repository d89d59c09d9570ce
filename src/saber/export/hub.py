"""An exported folder to the Hugging Face Hub, once it verifies and says what it is."""

from __future__ import annotations

from pathlib import Path

from saber.errors import EditError, ExportError
from saber.export.verify import verify


def push(folder: Path, repo: str, *, private: bool = True, token: str | None = None) -> str:
    """Upload an exported folder as a model repository.

    Args:
        folder: An exported checkpoint or adapter.
        repo: `org/name`.
        private: Create the repository as private.
        token: Hub token; None for the one that `hf auth login` stored.

    Returns:
        Address of the repository.

    Raises:
        ExportError: No model card, the folder does not verify, or the Hub refuses.
    """
    _check(folder, repo)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token)
    try:
        address = api.create_repo(repo, private=private, exist_ok=True)
        if private and not api.repo_info(repo).private:
            raise ExportError(
                f"{repo} exists and is public", hint="Push to another repository, or give --public."
            )
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Upload a model edited with SABER")
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ExportError(
            f"the Hub refused {repo}: {reason}",
            hint="Log in with `hf auth login` and check the name org/name.",
        ) from error
    return str(address)


def _check(folder: Path, repo: str) -> None:
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise ExportError(f"{repo!r} is no repository name", hint="Give org/name.")
    card = folder / "README.md"
    if not card.is_file() or not card.read_text(encoding="utf-8").strip():
        raise ExportError(
            f"{folder} has no README.md: a released model needs a card with what was edited and measured",
            hint="Run `saber report RUN`, which writes the card, and export again.",
        )
    try:
        report = verify(folder)
    except EditError as error:
        raise ExportError(error.message, hint="Push a folder that `saber export` wrote.") from error
    failed = [f"{check.name} ({check.detail})" for check in report.checks if check.ok is False]
    if failed:
        raise ExportError(
            f"{folder} does not verify: {'; '.join(failed)}",
            hint="Export again, and push that folder unchanged.",
        )
