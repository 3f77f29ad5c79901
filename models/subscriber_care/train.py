"""Train the assistant on generated dialogues; two CPU cores are enough, a GPU is used if present.

    python -m models.subscriber_care.train --minutes 45

writes `weights.npz` and `training.json` beside the tokenizer in the build folder, every few minutes
and at the end: a running average of the weights, sound whenever the run is stopped. A finished run
is trained further, on other dialogues, with `--continue-from FOLDER --out OTHER --seed 2`.
"""

import argparse
import dataclasses
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.gqa_graph import DecoderShape
from models.subscriber_care.batches import batches
from models.subscriber_care.network import Network, default_shape
from models.subscriber_care.tokenizer import BUILD_DIR

WARM_UP_STEPS = 100
AVERAGED_STEPS = 200
CHECKPOINT_SECONDS = 200.0


Weights: TypeAlias = Mapping[str, NDArray[np.float32]]
"""By the names of the network's parameters."""


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """What one run does; it ends at whichever limit comes first, its rate decayed to nothing."""

    seed: int = 1
    learning_rate: float = 2.5e-3
    weight_decay: float = 0.05
    batch_tokens: int = 4096
    max_seconds: float = 45 * 60.0
    max_tokens: int = 20_000_000
    num_threads: int = 2


@dataclasses.dataclass(slots=True)
class Progress:
    """How far a run is."""

    num_steps: int = 0
    num_tokens: int = 0
    seconds: float = 0.0
    loss: float = math.nan

    def ratio(self, recipe: Recipe) -> float:
        """Return how much of the run is over, 0 to 1."""
        return min(1.0, max(self.num_tokens / recipe.max_tokens, self.seconds / recipe.max_seconds))


def learning_rate(recipe: Recipe, progress: Progress) -> float:
    """Return the rate: linear warm-up, level for 40 % of the run, then linear to zero."""
    warm = min(1.0, (progress.num_steps + 1) / WARM_UP_STEPS)
    left = min(1.0, (1.0 - progress.ratio(recipe)) / 0.6)
    return recipe.learning_rate * warm * left


def train(
    tokenizer: Tokenizer,
    shape: DecoderShape,
    recipe: Recipe,
    *,
    initial: Weights | None = None,
    keep: Callable[[Weights, Progress], None] = lambda weights, progress: None,
) -> tuple[Weights, Progress]:
    """Run the recipe, from `initial` weights if given; return the weights with what they took.

    The weights are an exponential average over about `AVERAGED_STEPS` steps; `keep` is given them
    every `CHECKPOINT_SECONDS`.
    """
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.num_threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = Network(shape)
    if initial is not None:
        network.load_state_dict({name: torch.from_numpy(w) for name, w in initial.items()})
    network.to(device)
    if shutil.which("c++") is not None:
        network.compile_layers()
    optimizer = _optimizer(network, recipe)
    average = [weight.detach().clone() for weight in network.parameters()]
    kept_at = 0.0
    stream = batches(
        tokenizer, seed=recipe.seed, batch_tokens=recipe.batch_tokens, max_len=shape.max_len
    )
    progress, started = Progress(), time.monotonic()
    while progress.ratio(recipe) < 1.0:
        tokens, targets = (torch.from_numpy(a).to(device) for a in next(stream))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, progress)
        with torch.autocast(device.type, torch.bfloat16):
            loss = network.loss(tokens, targets)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        _note(progress, loss.item(), tokens.numel(), time.monotonic() - started)
        share = max(1 / AVERAGED_STEPS, 1 / progress.num_steps)
        torch._foreach_lerp_(average, [w.detach() for w in network.parameters()], share)
        if progress.seconds - kept_at >= CHECKPOINT_SECONDS:
            kept_at = progress.seconds
            keep(_arrays(network, average), progress)
    return _arrays(network, average), progress


def _arrays(network: Network, weights: Sequence[torch.Tensor]) -> Weights:
    names = (name for name, _ in network.named_parameters())
    return {n: w.float().cpu().numpy() for n, w in zip(names, weights, strict=True)}


def _optimizer(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    matrices = [w for w in network.parameters() if w.ndim == 2]
    norms = [w for w in network.parameters() if w.ndim == 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": recipe.weight_decay},
            {"params": norms, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.95),
        fused=True,
    )


def _note(progress: Progress, loss: float, num_tokens: int, seconds: float) -> None:
    progress.num_steps += 1
    progress.num_tokens += num_tokens
    progress.seconds = seconds
    progress.loss = loss if math.isnan(progress.loss) else 0.98 * progress.loss + 0.02 * loss
    if progress.num_steps % 50 == 0:
        print(
            f"step {progress.num_steps} tokens {progress.num_tokens} loss {progress.loss:.4f} "
            f"{progress.num_tokens / seconds:.0f} tokens/s {seconds:.0f} s",
            flush=True,
        )


def save(
    weights: Weights,
    shape: DecoderShape,
    recipe: Recipe,
    progress: Progress,
    *,
    earlier: object,
    out: Path,
) -> None:
    """Write the weights under their names, and what made them; a file is whole or not there.

    `earlier`: the facts of the run that this one went on from, or None.
    """
    unfinished = out / "unfinished.npz"
    arrays: dict[str, Any] = dict(weights)
    np.savez(unfinished, **arrays)
    unfinished.replace(out / "weights.npz")
    facts = {
        "shape": dataclasses.asdict(shape),
        "recipe": dataclasses.asdict(recipe),
        "progress": dataclasses.asdict(progress),
        "parameters": sum(weight.size for weight in weights.values()),
        "continues": earlier,
    }
    (out / "training.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Train with the tokenizer of the build folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    defaults = Recipe()
    parser.add_argument("--out", type=Path, default=BUILD_DIR)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--minutes", type=float, default=defaults.max_seconds / 60)
    parser.add_argument("--tokens", type=int, default=defaults.max_tokens)
    parser.add_argument("--batch-tokens", type=int, default=defaults.batch_tokens)
    parser.add_argument("--threads", type=int, default=defaults.num_threads)
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate)
    parser.add_argument("--continue-from", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    recipe = Recipe(
        seed=options.seed,
        learning_rate=options.learning_rate,
        batch_tokens=options.batch_tokens,
        max_seconds=60 * options.minutes,
        max_tokens=options.tokens,
        num_threads=options.threads,
    )
    initial: Weights | None = None
    earlier: object = None
    if options.continue_from is not None:
        initial = dict(np.load(options.continue_from / "weights.npz"))
        earlier = json.loads((options.continue_from / "training.json").read_text("utf-8"))
        options.out.mkdir(parents=True, exist_ok=True)
        shutil.copy(options.continue_from / "tokenizer.json", options.out)
    tokenizer = Tokenizer.from_file(str(options.out / "tokenizer.json"))
    shape = default_shape(tokenizer.get_vocab_size())

    def keep(weights: Weights, progress: Progress) -> None:
        save(weights, shape, recipe, progress, earlier=earlier, out=options.out)

    keep(*train(tokenizer, shape, recipe, initial=initial, keep=keep))


if __name__ == "__main__":
    main()
