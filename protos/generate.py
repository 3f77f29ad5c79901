"""Generate the Python side of the gRPC contract: `python -m protos.generate [--check]`.

Writes message classes, their types, the service's code and its types to `gateway/wire/pb`. With
`--check` it writes nothing and fails when a file there is not what the contract says.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = "firsthop/v1"
NAMES: Final = ("agent", "peer")
"""Contracts of the package, each `NAME.proto`."""
OUTPUT: Final = ROOT / "gateway" / "wire" / "pb"
OUTPUT_PACKAGE: Final = "gateway.wire.pb"


class GenerationFailed(Exception):
    """protoc refused the contract; it has printed why."""


def generate() -> dict[str, str]:
    """The generated files: name to text."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        _run_protoc(out)
        generated = out / PACKAGE
        files = {path.name: _rehome(path.read_text()) for path in sorted(generated.iterdir())}
        contract = descriptor_pb2.FileDescriptorSet.FromString((out / "contract.bin").read_bytes())
    for file in contract.file:
        name = Path(file.name).stem
        files[f"{name}_pb2_grpc.pyi"] = _service_types(file, name)
    files["__init__.py"] = (
        f'"""Generated from protos/{PACKAGE} by `python -m protos.generate`."""\n'
    )
    return files


def _run_protoc(out: Path) -> None:
    code = protoc.main(
        [
            "protoc",
            f"-I{ROOT / 'protos'}",
            f"--python_out={out}",
            f"--pyi_out={out}",
            f"--grpc_python_out={out}",
            f"--descriptor_set_out={out / 'contract.bin'}",
            *(f"{PACKAGE}/{name}.proto" for name in NAMES),
        ]
    )
    if code != 0:
        raise GenerationFailed(f"protoc ended with {code}")


def _rehome(text: str) -> str:
    """Point module names at the package the files live in; the proto's own name stays."""
    folder = PACKAGE.replace("/", ".")
    text = text.replace(f"from {folder} import", f"from {OUTPUT_PACKAGE} import")
    for name in NAMES:
        text = text.replace(f"'{folder}.{name}_pb2'", f"'{OUTPUT_PACKAGE}.{name}_pb2'")
    # protoc writes messages given as dictionaries without type arguments, which mypy refuses.
    return text.replace(", _Mapping]", ", _Mapping[str, object]]")


def _service_types(contract: descriptor_pb2.FileDescriptorProto, name: str) -> str:
    """Types of the service's asyncio client, which protoc leaves untyped."""
    lines = ["import grpc.aio", "", f"from {OUTPUT_PACKAGE} import {name}_pb2"]
    for service in contract.service:
        lines += ["", f"class {service.name}Stub:"]
        lines.append("    def __init__(self, channel: grpc.aio.Channel) -> None: ...")
        lines += [f"    {method.name}: {_callable_type(method, name)}" for method in service.method]
    return "\n".join(lines) + "\n"


def _callable_type(method: descriptor_pb2.MethodDescriptorProto, module: str) -> str:
    shape = "".join(
        "Stream" if streaming else "Unary"
        for streaming in (method.client_streaming, method.server_streaming)
    )
    messages = ", ".join(
        f"{module}_pb2.{name.rpartition('.')[2]}"
        for name in (method.input_type, method.output_type)
    )
    return f"grpc.aio.{shape}MultiCallable[{messages}]"


def stale(files: dict[str, str], folder: Path = OUTPUT) -> list[str]:
    """Names in `folder` that are missing, differ or do not belong there."""
    present = {path.name: path.read_text() for path in folder.glob("*.py*") if path.is_file()}
    return sorted(
        name for name in files.keys() | present.keys() if files.get(name) != present.get(name)
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Generate, or check; 0 when all is well, 1 when a checked-in file is stale."""
    parser = argparse.ArgumentParser(prog="python -m protos.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args(argv)
    files = generate()
    if arguments.check:
        names = stale(files)
        if names:
            tools = metadata.version("grpcio-tools")
            sys.stderr.write(
                f"stale in {OUTPUT.relative_to(ROOT)}: {', '.join(names)}; "
                f"run `python -m protos.generate` (here with grpcio-tools {tools})\n"
            )
        return 1 if names else 0
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (OUTPUT / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
