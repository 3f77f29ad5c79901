"""Write the bundle: the trained weights as a w8a8 graph, with tokenizer, template and manifest.

python -m models.subscriber_care.export [--precision w8a8 fp16]
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import get_args

import numpy as np
from tokenizers import Tokenizer

from models.bundle import BundleFacts, kv_value_bytes, provider_of, write_bundle
from models.calibrate import calibrated
from models.gqa_graph import DecoderShape, build_graph
from models.matrices import Precision
from models.subscriber_care.data.mix import dialogues
from models.subscriber_care.format import BEGIN, END, HERE, TEMPLATE_FILE, TOOLS_FILE, render
from models.subscriber_care.tokenizer import BUILD_DIR

BUNDLE_DIR = HERE / "bundle"
VERSION = "0.2.0"
_CALIBRATION_SEED, _NUM_CALIBRATED = 4242, 120


def _weights(path: Path) -> dict[str, np.typing.NDArray[np.float32]]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: np.asarray(arrays[name], dtype=np.float32) for name in arrays.files}


def _sequences(tokenizer: Tokenizer, max_len: int) -> Iterator[list[int]]:
    """Dialogues as the model sees them, to calibrate it on."""
    for turns in islice(dialogues(_CALIBRATION_SEED), _NUM_CALIBRATED):
        yield tokenizer.encode(render(turns)).ids[:max_len]


def export(build_dir: Path, bundle_dir: Path, precisions: Sequence[Precision] = ("w8a8",)) -> None:
    """Write the bundle for the weights and tokenizer of `build_dir`, a graph in each precision."""
    training = json.loads((build_dir / "training.json").read_text(encoding="utf-8"))
    shape = DecoderShape(**training["shape"])
    tokenizer = Tokenizer.from_file(str(build_dir / "tokenizer.json"))
    weights = _weights(build_dir / "weights.npz")
    peaks: dict[str, float] = {}
    if "w8a8" in precisions:
        weights, peaks = calibrated(shape, weights, _sequences(tokenizer, shape.max_len))
    write_bundle(
        bundle_dir,
        graphs={
            (provider_of(one), one): build_graph(shape, weights, one, peaks=peaks)
            for one in precisions
        },
        tokenizer_json=tokenizer.to_str(),
        chat_template=TEMPLATE_FILE.read_text(encoding="utf-8"),
        tools_json=TOOLS_FILE.read_text(encoding="utf-8"),
        facts=BundleFacts(
            id="subscriber-care",
            version=VERSION,
            licence="Apache-2.0",
            intended_use="Subscriber care of a telecom operator: demonstration and first hop.",
            limits="English only; amounts, durations and countries must be checked by the caller "
            "of the model; no knowledge outside its subject.",
            languages=("en",),
            tool_format="firsthop",
            max_context_tokens=shape.max_len,
            kv_bytes_per_token=shape.kv_values_per_token * kv_value_bytes(precisions[0]),
            end_tokens=(END,),
            begin_token=BEGIN,
            instructions="none",
        ),
        extra_files={"README.md": (HERE / "README.md").read_bytes()},
    )


def main() -> None:
    """Export the build folder's weights into this folder's `bundle/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=BUILD_DIR)
    parser.add_argument("--bundle", type=Path, default=BUNDLE_DIR)
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        nargs="+",
        default=["w8a8"],
        help="of a graph each; fp16 is for CUDA, all others are for the CPU",
    )
    options = parser.parse_args()
    export(options.build, options.bundle, options.precision)
    files = sorted(options.bundle.iterdir())
    print("\n".join(f"{path}: {path.stat().st_size} bytes" for path in files))


if __name__ == "__main__":
    main()
