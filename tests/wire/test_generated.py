"""The checked-in gRPC code is what the contract says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.wire.pb import agent_pb2 as pb
from protos.generate import OUTPUT, generate, main, stale

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_checked_in_files_are_in_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_changed_missing_and_foreign_files_are_stale(tmp_path: Path) -> None:
    files = {path.name: path.read_text() for path in OUTPUT.glob("*.py*") if path.is_file()}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert stale(files, tmp_path) == []
    (tmp_path / "agent_pb2.pyi").write_text("changed")
    (tmp_path / "agent_pb2_grpc.py").unlink()
    (tmp_path / "old_pb2.py").write_text("")
    assert stale(files, tmp_path) == ["agent_pb2.pyi", "agent_pb2_grpc.py", "old_pb2.py"]


def test_generated_code_lives_in_the_wire_room() -> None:
    files = generate()
    assert "from gateway.wire.pb import agent_pb2" in files["agent_pb2_grpc.py"]
    assert not any("from firsthop" in text for text in files.values())


def test_times_carry_their_unit() -> None:
    fields = {
        field.name
        for message in pb.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
        if field.type == field.TYPE_DOUBLE
    }
    of_sampling = {field.name for field in pb.Sampling.DESCRIPTOR.fields}
    assert all(name.endswith("_ms") for name in fields - of_sampling - {"logprob"})
