"""Trace files in the published columns, and what is said of broken ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loadtests.traces import InvalidTrace, Trace, TraceFormat, read_trace

if TYPE_CHECKING:
    from pathlib import Path

AZURE_2023 = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:51.0000000,879,55
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 23:59:59.500000+00:00,2162,5
2024-05-11 02:00:00.250000+02:00,2399,6
"""
BURST_GPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45.5,ChatGPT,1087,0,1087,Conversation log
118,GPT-4,417,276,693,API log
"""
MOONCAKE = """{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}
{"timestamp": 30535, "input_length": 6472, "output_length": 26, "hash_ids": [46, 2353]}

{"timestamp": 30535, "input_length": 100, "output_length": 1, "hash_ids": []}
"""


def read(folder: Path, text: str, trace_format: TraceFormat) -> Trace:
    path = folder / "trace"
    path.write_text(text, encoding="utf-8")
    return read_trace(path, trace_format)


def test_azure_2023(tmp_path: Path) -> None:
    trace = read(tmp_path, AZURE_2023, TraceFormat.AZURE)
    assert trace.at_s.tolist() == pytest.approx([0.0, 4.314579, 4.31941])
    assert trace.prompt_tokens.tolist() == [374, 396, 879]
    assert trace.output_tokens.tolist() == [44, 109, 55]


def test_azure_2024_has_zones(tmp_path: Path) -> None:
    trace = read(tmp_path, AZURE_2024, TraceFormat.AZURE)
    assert trace.at_s.tolist() == pytest.approx([0.0, 0.75])


def test_burst_gpt_drops_and_counts_failed_requests(tmp_path: Path) -> None:
    trace = read(tmp_path, BURST_GPT, TraceFormat.BURST_GPT)
    assert trace.at_s.tolist() == [0.0, 113.0]
    assert trace.prompt_tokens.tolist() == [472, 417]
    assert trace.num_dropped == 1


def test_a_failed_request_may_be_empty_in_every_format(tmp_path: Path) -> None:
    empty = BURST_GPT.replace("1087,0,1087", "0,0,0")
    assert read(tmp_path, empty, TraceFormat.BURST_GPT).num_dropped == 1
    empty = MOONCAKE.replace("6472", "0").replace(": 26", ": 0")
    assert read(tmp_path, empty, TraceFormat.MOONCAKE).num_dropped == 1


@pytest.mark.parametrize(
    ("text", "trace_format"),
    [(AZURE_2023, TraceFormat.AZURE), (MOONCAKE, TraceFormat.MOONCAKE)],
)
def test_a_byte_order_mark_is_no_text_and_other_encodings_are_named_by_line(
    tmp_path: Path, text: str, trace_format: TraceFormat
) -> None:
    path = tmp_path / "trace"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert len(read_trace(path, trace_format).at_s) == 3
    first, _, rest = text.partition("\n")
    path.write_bytes(first.encode() + b"\n\xff" + rest.encode())
    with pytest.raises(InvalidTrace, match="trace:2: not UTF-8 text"):
        read_trace(path, trace_format)


def test_mooncake(tmp_path: Path) -> None:
    trace = read(tmp_path, MOONCAKE, TraceFormat.MOONCAKE)
    assert trace.at_s.tolist() == pytest.approx([0.0, 3.053, 3.053])
    assert trace.output_tokens.tolist() == [52, 26, 1]


def test_a_trace_is_cut_and_stretched(tmp_path: Path) -> None:
    trace = read(tmp_path, AZURE_2023, TraceFormat.AZURE)
    assert len(trace.cut(4.315).at_s) == 2
    faster = trace.at_rate(10.0)
    assert faster.at_s[-1] == pytest.approx(0.2)
    assert faster.at_s[1] / faster.at_s[2] == pytest.approx(trace.at_s[1] / trace.at_s[2])
    with pytest.raises(ValueError, match="two instants"):
        trace.cut(1.0).at_rate(10.0)


@pytest.mark.parametrize(
    ("text", "trace_format", "said"),
    [
        (AZURE_2023.replace("ContextTokens", "Context"), TraceFormat.AZURE, ":1: no column `Conte"),
        (AZURE_2023.replace("396", "many"), TraceFormat.AZURE, ":3: `ContextTokens`: "),
        (AZURE_2023.replace("396", "0"), TraceFormat.AZURE, ":3: `ContextTokens`: 0 is no count"),
        (AZURE_2023.replace(",109", ""), TraceFormat.AZURE, ":3: `GeneratedTokens`: "),
        (AZURE_2023.replace("18:15:50", "yesterday"), TraceFormat.AZURE, ":3: `TIMESTAMP`: "),
        (AZURE_2023.replace("18:15:50", "18:15:30"), TraceFormat.AZURE, ":3: `TIMESTAMP`: earlier"),
        (BURST_GPT.replace("118", "nan"), TraceFormat.BURST_GPT, ":4: `Timestamp`: not finite"),
        (BURST_GPT.replace("276", "2.5"), TraceFormat.BURST_GPT, ":4: `Response tokens`: 2.5"),
        (MOONCAKE.replace("6472", '"x"'), TraceFormat.MOONCAKE, ":2: `input_length`: Expected"),
        (MOONCAKE.replace('"output_length": 1,', ""), TraceFormat.MOONCAKE, ":4: .*output_length"),
        (MOONCAKE.replace("27482", "99999"), TraceFormat.MOONCAKE, ":2: `timestamp`: earlier"),
        (MOONCAKE.replace("6472", "0"), TraceFormat.MOONCAKE, ":2: `input_length`: 0 is no count"),
        (MOONCAKE.replace("6472", "9" * 19), TraceFormat.MOONCAKE, ":2: `input_length`: 1e.19 is"),
        (MOONCAKE.replace("6472", "9" * 30), TraceFormat.MOONCAKE, ":2: `input_length`: "),
        (MOONCAKE.replace("6472", "-1"), TraceFormat.MOONCAKE, ":2: `input_length`: -1 is no"),
        (AZURE_2023.replace("396", "9" * 200_000), TraceFormat.AZURE, ":3: field larger than"),
        (
            AZURE_2023.replace("2023-11-16 18:15:50.9951690", "0001-01-01 00:00:00+23:00"),
            TraceFormat.AZURE,
            ":3: `TIMESTAMP`: date value out of range",
        ),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", TraceFormat.AZURE, "no request"),
        ("", TraceFormat.MOONCAKE, "no request"),
    ],
)
def test_a_broken_trace_names_file_line_and_column(
    tmp_path: Path, text: str, trace_format: TraceFormat, said: str
) -> None:
    with pytest.raises(InvalidTrace, match=f"trace.*{said}"):
        read(tmp_path, text, trace_format)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidTrace, match=r"nowhere\.csv: No such file"):
        read_trace(tmp_path / "nowhere.csv", TraceFormat.AZURE)
