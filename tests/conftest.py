"""Fixtures that every test may use."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # threads of several workers would wait for one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]

TINY_CNN = """
name = "tiny_cnn"
[model]
name = "cnn"
img_size = 32
[training]
epochs = 2
batch_size = 16
lr = 2e-3
ema_decay = 0.5
precision = "float32"
device = "cpu"
[augmentation]
hflip_prob = 0.5
rotate_deg = 10.0
contrast = 0.2
"""

TINY_VIT = """
name = "tiny_vit"
[model]
name = "vit_scratch"
img_size = 32
drop_path_rate = 0.05
patch_drop_rate = 0.25
[training]
epochs = 2
batch_size = 16
lr = 1e-3
ema_decay = 0.5
precision = "float32"
device = "cpu"
[distillation]
teacher = "tiny_cnn"
"""


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real films, weights and references; skips where it is absent."""
    folder = Path(os.environ.get("PNEUMOSCOPE_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"real films are not here ({folder}); set PNEUMOSCOPE_SHARED")
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of the test run's own, so that nothing is left in the user's."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["PNEUMOSCOPE_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder of phantoms."""
    from pneumoscope.data.phantom import write_phantoms

    folder = tmp_path_factory.mktemp("films") / "phantoms"
    return write_phantoms(folder, num_train=60, num_val=8, num_test=24, seed=3, size_px=128)


@pytest.fixture(scope="session")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two recipes that train in seconds: tiny_cnn.toml and tiny_vit.toml."""
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "tiny_cnn.toml").write_text(TINY_CNN)
    (folder / "tiny_vit.toml").write_text(TINY_VIT)
    return folder


Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def program(own_cache: Path) -> Program:
    """Runs ``pneumoscope`` as a process of its own: ``program("screen", path, cwd=...)``."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pneumoscope", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=600, **{"check": False, **options}
        )

    return run


SaveAsGoogle = Callable[..., None]


@pytest.fixture(scope="session")
def save_as_google() -> SaveAsGoogle:
    """Writes a ViT the way Google's Flax model is saved: ``save_as_google(model, path)``."""
    import numpy as np

    def save(model: Any, path: Path, *, linen: bool = False) -> None:

        state = {key: value.numpy() for key, value in model.state_dict().items()}
        D, A = model.embed_dim, model.num_heads
        attention, norm, mlp = (0, 1, 0) if linen else (1, 2, 3)
        arrays = {
            "embedding/kernel": state["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
            "embedding/bias": state["patch_embed.proj.bias"],
            "cls": state["cls_token"],
            "Transformer/posembed_input/pos_embedding": state["pos_embed"],
        }

        def norm_arrays(name: str, key: str) -> None:
            arrays[f"{name}/scale"] = state[f"{key}.weight"]
            arrays[f"{name}/bias"] = state[f"{key}.bias"]

        def dense(name: str, key: str) -> None:
            arrays[f"{name}/kernel"] = state[f"{key}.weight"].T
            arrays[f"{name}/bias"] = state[f"{key}.bias"]

        norm_arrays("Transformer/encoder_norm", "norm")
        dense("head", "head")
        if "pre_logits.fc.weight" in state:
            dense("pre_logits", "pre_logits.fc")
        for i in range(len(model.blocks)):
            block, key = f"Transformer/encoderblock_{i}", f"blocks.{i}"
            norm_arrays(f"{block}/LayerNorm_0", f"{key}.norm1")
            norm_arrays(f"{block}/LayerNorm_{norm}", f"{key}.norm2")
            dense(f"{block}/MlpBlock_{mlp}/Dense_0", f"{key}.mlp.fc1")
            dense(f"{block}/MlpBlock_{mlp}/Dense_1", f"{key}.mlp.fc2")
            attn = f"{block}/MultiHeadDotProductAttention_{attention}"
            weight = state[f"{key}.attn.qkv.weight"].reshape(3, A, D // A, D)
            bias = state[f"{key}.attn.qkv.bias"].reshape(3, A, D // A)
            for part, name in enumerate(("query", "key", "value")):
                arrays[f"{attn}/{name}/kernel"] = weight[part].transpose(2, 0, 1)
                arrays[f"{attn}/{name}/bias"] = bias[part]
            out = state[f"{key}.attn.proj.weight"].reshape(D, A, D // A)
            arrays[f"{attn}/out/kernel"] = out.transpose(1, 2, 0)
            arrays[f"{attn}/out/bias"] = state[f"{key}.attn.proj.bias"]
        np.savez(path, **arrays)

    return save


@pytest.fixture(scope="session")
def ti32_checkpoint(save_as_google: SaveAsGoogle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ViT-Ti/32 at 64 px in Google's layout: the cheapest one that has a name."""
    import torch

    from pneumoscope.models.build import build_model

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "ViT-Ti_32.npz"
    save_as_google(build_model("vit_ti32", num_classes=5, img_size=64), path)
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 3 MB; only root on Linux can mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here; that takes root on Linux")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
