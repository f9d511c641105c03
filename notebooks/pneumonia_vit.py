# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,kernelspec
#     cell_metadata_filter: -all
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Pneumonia on chest X-rays with Vision Transformers, recall first
#
# The whole study, top to bottom: a Vision Transformer from scratch, the same class with Google's weights, and
# both at a threshold that is chosen on validation films so that few sick children are missed.
#
# **Research use only. Not a medical device; not for diagnosis or treatment.**
#
# As it stands it takes a few minutes on two CPU cores, offline and without any film of a patient: it draws
# PHANTOMS, whose numbers say nothing about patients, and in so few steps the networks learn next to nothing. `FULL`,
# the one variable in the first cell, makes it the study on the real films in `Data/chest_xray`
# (`pneumoscope data fetch`), with the published recipes and Google's `weights/ViT-Ti_16.npz`
# (`pneumoscope weights fetch ViT-Ti_16`).

# %% [markdown]
# ## 1. Utilities

# %%
import os
from pathlib import Path

import numpy as np
import torch
from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure
from rich.console import Console

import pneumoscope as ps
from pneumoscope.bundle import Bundle, open_bundle, shipped_bundles
from pneumoscope.config import Recipe, load_recipe
from pneumoscope.data.phantom import write_phantoms
from pneumoscope.evaluation.comparison import compare
from pneumoscope.evaluation.figure_style import to_png
from pneumoscope.evaluation.figures import (
    draw_confusion,
    draw_roc,
    draw_scores,
    draw_training_curves,
)
from pneumoscope.evaluation.overview import draw_overview
from pneumoscope.evaluation.results import ModelResult
from pneumoscope.evaluation.tables import headline_table, to_markdown
from pneumoscope.models.bundles import load_network
from pneumoscope.models.heatmap import attention_rollout, class_heatmap, overlay
from pneumoscope.models.npz_format import inspect_npz
from pneumoscope.models.scoring import network_input
from pneumoscope.models.weights import find_weights
from pneumoscope.study.films import open_films
from pneumoscope.study.run import Source, run
from pneumoscope.study.study import PRESETS

FULL = os.environ.get("PNEUMOSCOPE_FULL") == "1"  # True: the real films and the published recipes

here = Path.cwd()
os.chdir(next((d for d in (here, *here.parents) if (d / "configs/scratch.toml").is_file()), here))
OUT = Path("studies/notebook-full" if FULL else "studies/notebook")
console = Console(width=110, force_jupyter=False, force_terminal=False, color_system=None)
torch.manual_seed(0)


def show(figure: Figure) -> None:
    """Shows a figure, here and on GitHub alike: as a PNG."""
    display(Image(to_png(figure), width=round(100 * figure.get_size_inches()[0])))


def show_images(images: list[np.ndarray], titles: list[str], columns: int = 4) -> None:
    """Shows grey or colour pictures in a grid."""
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(2.2 * columns, 2.45 * rows), layout="constrained")
    for axes in (panels := figure.subplots(rows, columns, squeeze=False).ravel()):
        axes.set_axis_off()
    for axes, image, title in zip(panels, images, titles, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        axes.set_title(title, fontsize=8)
    show(figure)


def recipe_named(name: str, *overrides: str) -> Recipe:
    """Returns a shipped recipe; in the short run it takes few steps."""
    short = () if FULL else ("training.max_steps=80", "training.eval_every=1")
    return load_recipe(name, (*short, *overrides))


# %% [markdown]
# ## 2. Data and split
#
# A folder `{train,test}/{NORMAL,PNEUMONIA}`. The test folder is the test set, always; a fifth of the training folder
# becomes validation, **whole patients at a time**: films of one child resemble one another, and a threshold chosen on
# siblings of the training films would be too good. The split is a CSV file with the hash of every film.

# %%
GUIDE, SCRATCH, PRETRAINED = PRESETS["full" if FULL else "quick"]
scratch_recipe = recipe_named(SCRATCH)

if FULL:
    data = Path("Data/chest_xray")
else:
    data = write_phantoms(OUT / "phantoms", num_train=240, num_val=8, num_test=96, size_px=128)

films = open_films(data, OUT / "split.csv", scratch_recipe.data, console)
lines = ["| part | NORMAL | PNEUMONIA | patients |", "|---|---:|---:|---:|"]
for part in ("train", "val", "test"):
    normal, pneumonia = np.bincount(films.labels(part), minlength=2)
    patients = len({row.patient_id for row in films.rows(part)})
    lines.append(f"| {part} | {normal:,} | {pneumonia:,} | {patients:,} |")
patients_of = {part: {row.patient_id for row in films.rows(part)} for part in ("train", "val")}
assert not patients_of["train"] & patients_of["val"]
display(Markdown("\n".join(lines)))

# %%
img_size = scratch_recipe.model.img_size
pixels = {part: films.pixels(part, img_size, console) for part in ("train", "val", "test")}
of_class = [np.flatnonzero(films.labels("train") == label)[:4] for label in (0, 1)]
show_images(
    [pixels["train"][index] for indices in of_class for index in indices],
    [name for name in ("NORMAL", "PNEUMONIA") for _ in range(4)],
)

# %% [markdown]
# ## 3. The model: a Vision Transformer from scratch, with DropPath
#
# The film is cut into patches of 16 x 16 pixels, and each is projected linearly. A convolution whose stride is its
# kernel does just that (`kept` names the patches that training keeps, where some are left out):
#
# ```python
# class PatchEmbed(nn.Module):
#     """Cuts an image into P x P patches and projects each linearly (equation 1)."""
#
#     def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
#         """Makes the projection, as a convolution whose stride is its kernel."""
#         super().__init__()
#         self.patch_size = patch_size
#         self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size)
#
#     def forward(self, x: Tensor, kept: Tensor | None = None) -> Tensor:  # (B, C, H, W)
#         """Returns one token a patch, row by row (B, N, D), or those of the patches ``kept`` alone.
#
#         ``kept`` has indices (B, V) into the grid, row by row; the others are then never projected.
#         """
#         if kept is None:
#             grid: Tensor = self.proj(x)  # (B, D, H/P, W/P)
#             return grid.flatten(2).transpose(1, 2)  # (B, N, D)
#         (B, C, H, W), P = x.shape, self.patch_size
#         patches = x.reshape(B, C, H // P, P, W // P, P).permute(0, 2, 4, 1, 3, 5)
#         image, width = torch.arange(B, device=x.device)[:, None], W // P
#         patches = patches[image, kept // width, kept % width]  # (B, V, C, P, P)
#         return F.linear(patches.flatten(2), self.proj.weight.flatten(1), self.proj.bias)
# ```

# %%
network = ps.build_model("vit_scratch", img_size=img_size, drop_path_rate=0.05)
film = pixels["train"][of_class[1][0]]
P = network.patch_size
side = img_size // P
with_gaps = np.full((side * (P + 2) - 2,) * 2, 255, np.uint8)
for row in range(side):
    for column in range(side):
        patch = film[row * P : (row + 1) * P, column * P : (column + 1) * P]
        top, left = row * (P + 2), column * (P + 2)
        with_gaps[top : top + P, left : left + P] = patch
show_images([film, with_gaps], ["the film", f"{side} x {side} patches: {side**2} tokens"], 2)

# %% [markdown]
# Then a learnt position embedding is added to each patch, without which the network would see a bag of patches, and a
# class token with a position of its own is put in front. (`_draw_patches` says which patches of each film are kept in
# training, where the recipe leaves some out; the others are not even projected.)
#
# ```python
#         kept = self._draw_patches(x, patch_drop_rate)
#         positions = self.pos_embed[:, 1:]  # (1, N, D)
#         if kept is not None:
#             positions = F.embedding(kept, positions[0])  # (B, N, D)
#         x = self.patch_embed(x, kept) + positions
#         cls = (self.cls_token + self.pos_embed[:, :1]).expand(B, -1, -1)  # (B, 1, D)
#         return F.dropout(torch.cat([cls, x], dim=1), self.drop_rate, self.training), kept
# ```
#
# Attention lets every token look at every other. (In the last block only what becomes of the class token counts for the
# answer, so in training by labels nothing else is computed there: `class_only`.)
#
# ```python
#     def forward(self, x: Tensor, *, class_only: bool = False) -> Tensor:  # (B, N, D)
#         """Returns the attended tokens (B, N, D), or that of the class token alone (B, 1, D).
#
#         Through the fused kernel, but for training on a CPU: there its backward pass takes four
#         tenths of a step of so few tokens (``benchmarks/attention.py``).
#         """
#         q, k, v = self._heads(x)
#         if class_only:
#             q = q[:, :, :1]  # Q = 1 query, else N
#         drop_rate = self.drop_rate if self.training else 0.0
#         if self.training and x.device.type == "cpu":
#             x = F.dropout(self._weights(q, k), drop_rate).to(v.dtype) @ v  # (B, A, Q, E)
#         else:
#             x = F.scaled_dot_product_attention(q, k, v, dropout_p=drop_rate)
#         x = self.proj(x.transpose(1, 2).flatten(2))  # (B, Q, D)
#         return F.dropout(x, self.drop_rate, self.training)
#
#     @staticmethod
#     def _weights(q: Tensor, k: Tensor) -> Tensor:  # (B, A, Q, E), (B, A, N, E)
#         """Returns the softmax weights (B, A, Q, N) of Q queries."""
#         scale: float = q.shape[-1] ** -0.5
#         return ((q * scale) @ k.transpose(-2, -1)).softmax(dim=-1)
# ```
#
# The MLP then works on each token alone:
#
# ```python
#     def forward(self, x: Tensor) -> Tensor:  # (B, N, D)
#         """Returns the transformed tokens (B, N, D)."""
#         x = F.dropout(self.act(self.fc1(x)), self.drop_rate, self.training)
#         return F.dropout(self.fc2(x), self.drop_rate, self.training)
# ```
#
# A block is attention and an MLP, each normalised first and each on a residual:
#
# ```python
#     def forward(self, x: Tensor, *, class_only: bool = False) -> Tensor:  # (B, N, D)
#         """Returns the next tokens (B, N, D), or the class token alone (B, 1, D)."""
#         attended = self.attn(self.norm1(x), class_only=class_only)
#         x = (x[:, :1] if class_only else x) + self.drop_path(attended)
#         x = x + self.drop_path(self.mlp(self.norm2(x)))
#         return x
# ```

# %%
x = network_input(torch.from_numpy(film[None].copy()), network.in_chans)
network.eval()
with torch.inference_mode():
    patches = network.patch_embed(x)
    tokens = network.forward_features(x)
    logits = network.classify(tokens)
B, N, D = patches.shape
display(
    Markdown(
        "| step | shape |\n|---|---|\n"
        f"| film, grey shown in three channels, in [-1, 1] | {tuple(x.shape)} |\n"
        f"| patches, projected | {tuple(patches.shape)} |\n"
        f"| class token in front, positions added, {len(network.blocks)} blocks, norm | "
        f"{tuple(tokens.shape)} |\n"
        f"| class token to logits: NORMAL, PNEUMONIA | {tuple(logits.shape)} |\n\n"
        f"{sum(parameter.numel() for parameter in network.parameters()):,} parameters at "
        f"{img_size} px."
    )
)

# %% [markdown]
# **DropPath** (stochastic depth): in training, a residual branch is dropped for whole films, the deeper the more
# often. Kept branches are scaled up, so the expectation stays.
#
# ```python
#         keep_prob = 1.0 - self.drop_prob
#         mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep_prob)
#         return x * (mask / keep_prob)
# ```
#
# The picture shows 32 films (across) going through the attention branches of the blocks (down); dark is dropped. The
# rate is ten times that of the published recipe, to be seen. The short run trains so few steps that its recipe has no
# DropPath: there the network of section 4 does without what is shown here. With `FULL` it has it.

# %%
shown = ps.build_model("vit_scratch", img_size=img_size, drop_path_rate=0.5).train()
kept = [block.drop_path(torch.ones(32, 1))[:, 0] > 0 for block in shown.blocks]
figure = Figure(figsize=(7, 1.9), layout="constrained")
axes = figure.subplots()
axes.imshow(torch.stack(kept).numpy(), cmap="gray", vmin=0, vmax=1.3, aspect="auto")
rates = [f"block {i}: {block.drop_path.drop_prob:.1f}" for i, block in enumerate(shown.blocks)]
axes.set_yticks(range(len(rates)), rates)
axes.set_xlabel("film of the batch")
show(figure)

# %% [markdown]
# **Position embeddings.** How alike are the embeddings of the patches? Each small map shows the cosine similarity of
# one place to all places. At first they are noise; training on films makes neighbours alike, though nobody told the
# network where a patch lies. The right-hand picture is the shipped network, trained on the real films.


# %%
def position_similarity(network: torch.nn.Module, every: int) -> np.ndarray:
    """Returns a map of maps: the similarity of each ``every``-th place to all places."""
    embedding = network.pos_embed[0, 1:].detach()
    embedding = torch.nn.functional.normalize(embedding - embedding.mean(0), dim=1)
    side = round(len(embedding) ** 0.5)
    maps = (embedding @ embedding.T).reshape(side, side, side, side)[::every, ::every]
    framed = torch.nn.functional.pad(maps, (0, 1, 0, 1), value=1.0)
    return framed.permute(0, 2, 1, 3).flatten(0, 1).flatten(1).numpy()


def show_positions(networks: dict[str, torch.nn.Module]) -> None:
    """Shows the similarity of the position embeddings, a picture a network."""
    figure = Figure(figsize=(4.2 * len(networks), 4.3), layout="constrained")
    panels = figure.subplots(1, len(networks), squeeze=False).ravel()
    for axes, (name, shown) in zip(panels, networks.items(), strict=True):
        grid = round((shown.pos_embed.shape[1] - 1) ** 0.5)
        image = axes.imshow(position_similarity(shown, 2 if grid > 7 else 1), vmin=-1, vmax=1)
        axes.set_title(name, fontsize=9)
        axes.set_axis_off()
    figure.colorbar(image, ax=panels, shrink=0.7, label="cosine similarity")
    show(figure)


shipped = shipped_bundles()
show_positions(
    {
        "fresh": network,
        "shipped, trained from scratch": load_network(open_bundle(shipped["scratch"])),
    }
)

# %% [markdown]
# ## 4. Train and evaluate: from scratch
#
# `run` is what `pneumoscope train` calls: AdamW, warm-up and cosine, augmentation, a moving average of the weights, the
# weights of the best validation AUROC kept (of the CNN the last). It ends in a bundle, whose threshold is frozen. A ViT learns slowly from a few thousand
# films, so a CNN trained on the same films is its guide and comes first. A run that is finished is not run again.

# %%
source = Source(data, OUT / "split.csv")
guide = run(recipe_named(GUIDE), source, OUT / GUIDE, console)
scratch = run(scratch_recipe, source, OUT / SCRATCH, console)
scratch_result = ModelResult.from_bundle(scratch)
show(draw_training_curves([ModelResult.from_bundle(guide), scratch_result]))

# %% [markdown]
# **The threshold, recall first**: of the thresholds at which at least 95 % of the sick validation films are found,
# the one whose calls contain the smallest share of false alarms. This is all of it, and it is what the bundle carries:

# %%
val = scratch_result.films("val")
threshold, recall, precision = ps.choose_threshold_by_min_recall(
    val.y_true, val.p_pneumonia, min_recall=0.95
)
assert threshold == scratch.threshold
test = scratch_result.films("test")
at_threshold = ps.summarize_at_threshold(test.y_true, test.p_pneumonia, threshold)
print(f"threshold {threshold:.4g}: recall {recall:.3f}, precision {precision:.3f} on validation")
print(
    f"the same on test: recall {at_threshold['recall']:.3f}, "
    f"specificity {at_threshold['specificity']:.3f}, AUROC {at_threshold['auroc']:.3f}"
)
show(draw_scores([scratch_result]))
show(draw_confusion([scratch_result]))


# %% [markdown]
# **Where does it look?** Attention rollout follows the attention through all blocks and knows of no class; the class
# map weighs the attention by the gradient of the answer, so it shows what speaks for PNEUMONIA. They explain the
# network, not the patient.
#
# The fused kernel keeps no weights, so those of each block are computed once more:
#
# ```python
#     def attention_map(self, x: Tensor) -> Tensor:  # (B, N, D)
#         """Returns the softmax weights (B, A, N, N) that :meth:`forward` applies to the values."""
#         q, k, _ = self._heads(x)
#         return self._weights(q, k)
# ```
#
# Rollout takes the mean of the heads, mixes it half and half with the residual path, and multiplies through all blocks;
# the map is the class token's row:
#
# ```python
#     for weight in weights:  # (B, A, N, N)
#         flow = (0.5 * weight.mean(dim=1) + 0.5 * identity) @ flow
#     return _grid_of(flow)
# ```


# %%
sick = np.flatnonzero(films.labels("test") == 1)[:4]


def show_attention(bundle: Bundle) -> None:
    """Shows four sick test films with rollout and class map of a bundle's Vision Transformer."""
    network = load_network(bundle)
    views = films.pixels("test", bundle.config["model"].get("img_size", 224), console)[sick]
    images = [*views]
    for heat in (attention_rollout(network, views), class_heatmap(network, views)):
        images += [overlay(view, of_film) for view, of_film in zip(views, heat, strict=True)]
    kinds = ("film", "attention rollout", "for PNEUMONIA")
    show_images(images, [kind for kind in kinds for _ in views], len(views))


show_attention(scratch)

# %% [markdown]
# The same films seen by the shipped network, which was trained on real ones:

# %%
show_attention(open_bundle(shipped["scratch"]))

# %% [markdown]
# ## 5. Pretrained: Google's `.npz`
#
# The same class at Google's size takes Google's arrays as they are: no timm, no model hub, and no pickle, ever. Where
# `weights/ViT-Ti_16.npz` is not there, the short run makes **a random checkpoint in the same layout** on the spot. It
# shows the path, and its row in the tables below says RANDOM, for nothing in it was ever trained.


# %%
def google_layout(
    embed_dim: int, depth: int, heads: int, classes: int
) -> dict[str, tuple[int, ...]]:
    """Returns the names and shapes of the arrays of a ViT/16 at 224 px, as Google stores it."""
    D = embed_dim
    shapes: dict[str, tuple[int, ...]] = {
        "cls": (1, 1, D),
        "embedding/kernel": (16, 16, 3, D),
        "embedding/bias": (D,),
        "Transformer/posembed_input/pos_embedding": (1, 1 + 14 * 14, D),
        "Transformer/encoder_norm/scale": (D,),
        "Transformer/encoder_norm/bias": (D,),
        "head/kernel": (D, classes),
        "head/bias": (classes,),
    }
    for index in range(depth):
        block = f"Transformer/encoderblock_{index}"
        attention, mlp = f"{block}/MultiHeadDotProductAttention_1", f"{block}/MlpBlock_3"
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            shapes |= {f"{block}/{norm}/scale": (D,), f"{block}/{norm}/bias": (D,)}
        for part in ("query", "key", "value"):
            shapes[f"{attention}/{part}/kernel"] = (D, heads, D // heads)
            shapes[f"{attention}/{part}/bias"] = (heads, D // heads)
        shapes |= {f"{attention}/out/kernel": (heads, D // heads, D)}
        shapes |= {f"{attention}/out/bias": (D,)}
        shapes |= {f"{mlp}/Dense_0/kernel": (D, 4 * D), f"{mlp}/Dense_0/bias": (4 * D,)}
        shapes |= {f"{mlp}/Dense_1/kernel": (4 * D, D), f"{mlp}/Dense_1/bias": (D,)}
    return shapes


def random_checkpoint(path: Path) -> Path:
    """Returns ``path`` with a ViT-Ti/16 of random numbers in Google's layout."""
    random = np.random.default_rng(0)
    arrays = {
        name: np.ones(shape, np.float32)
        if name.endswith("/scale")
        else 0.02 * random.standard_normal(shape, dtype=np.float32)
        for name, shape in google_layout(embed_dim=192, depth=12, heads=3, classes=10).items()
    }
    np.savez(path, **arrays)
    return path


try:
    weights, title = find_weights("ViT-Ti_16"), ""
except ps.PneumoscopeError as error:
    if FULL:
        raise
    print(f"{error}\n\nGoing on with a RANDOM checkpoint in the same layout.")
    weights, title = random_checkpoint(OUT / "random.npz"), "ViT-Ti/16, RANDOM checkpoint"

info = inspect_npz(weights)
print(f"{weights}: {info.name} at {info.resolution} px, {info.num_parameters:,} parameters")
google = ps.build_model("vit_ti16", num_classes=2, img_size=224)
print(ps.load_npz(google, weights))
show_positions({title or "Google's, as downloaded": google})

# %% [markdown]
# For another image size the grid of position embeddings is interpolated, as Google does it:

# %%
smaller = ps.build_model("vit_ti16", num_classes=2, img_size=img_size)
print("; ".join(ps.load_npz(smaller, weights).resampled) or "nothing had to be resampled")

# %% [markdown]
# ## 6. Train and evaluate: pretrained
#
# Linear probe first (a random head would send large gradients through good features), then all layers, the lower the
# slower.

# %%
overrides = [f"pretrained.weights={weights.as_posix()}", *([f"title={title}"] if title else [])]
pretrained = run(recipe_named(PRETRAINED, *overrides), source, OUT / PRETRAINED, console)
pretrained_result = ModelResult.from_bundle(pretrained)
show(draw_training_curves([pretrained_result]))
show(draw_scores([pretrained_result]))

# %%
show_attention(pretrained)

# %% [markdown]
# ## 7. Comparison
#
# Each model at 0.5 and at its recall-first threshold, tested once. Everyone reaches recall; **read specificity**, the
# share of healthy children left in peace.

# %%
results = [ModelResult.from_bundle(bundle) for bundle in (guide, scratch, pretrained)]
comparison = compare(results, OUT / "comparison")
display(Markdown(to_markdown(headline_table(comparison.results, "test"))))
show(draw_roc(comparison.results))
show(draw_scores(comparison.results))
print(f"report: {comparison.report}")

# %% [markdown]
# **The published models**, from their shipped scores on the 624 real test films, with the reference study beside them.
# Nothing is trained for this, and no film is needed: every number comes from the `predictions.csv` in each bundle.

# %%
published = [ModelResult.from_bundle(open_bundle(path)) for path in shipped.values()]
display(Markdown(to_markdown(headline_table(published, "test"))))
show(draw_overview(published))
