"""What training learns from, and that the network it trains is the graph that ships."""

from itertools import islice

import numpy as np
import onnxruntime as ort
import pytest
from tokenizers import Tokenizer

from gateway.session import phrases
from models.gqa_graph import DecoderShape, build_graph
from models.subscriber_care.batches import IGNORED, batches
from models.subscriber_care.cases import Case
from models.subscriber_care.export import BUNDLE_DIR
from models.subscriber_care.findings import Findings, Tally, wilson
from models.subscriber_care.format import Called, Heard, Said
from models.subscriber_care.tokenizer import train_tokenizer

SESSIONS_OWN = (
    phrases.NO_CORE_MODEL,
    phrases.HOW_MUCH,
    phrases.HOW_LONG,
    phrases.WHICH_COUNTRY,
    phrases.HOW_MANY_DAYS,
)
SHAPE = DecoderShape(
    vocab_size=320,
    hidden_size=64,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=32,
    ffn_size=96,
    max_len=64,
)


def test_only_what_the_assistant_produces_is_learnt() -> None:
    tokenizer = Tokenizer.from_file(str(BUNDLE_DIR / "tokenizer.json"))
    stream = batches(tokenizer, seed=1, batch_tokens=2048, max_len=512, pool_size=100)

    sessions = [f"{sentence}<e>" for sentence in SESSIONS_OWN]
    num_left_out = 0
    for tokens, targets in islice(stream, 5):
        assert tokens.shape == targets.shape
        assert tokens.size <= 2048
        for row, wanted in zip(tokens.tolist(), targets.tolist(), strict=True):
            whole = tokenizer.decode(row, skip_special_tokens=False)
            learnt = [t for t in wanted if t != IGNORED]
            turns = [part.split("<e>")[0] + "<e>" for part in whole.split("<a>")[1:]]
            models_own = [turn for turn in turns if turn not in sessions]
            num_left_out += len(turns) - len(models_own)
            assert tokenizer.decode(learnt, skip_special_tokens=False) == "".join(models_own)
    assert num_left_out > 0


def test_a_tokenizer_is_made_from_the_data_alone() -> None:
    first = train_tokenizer(num_dialogues=50, seed=1)

    assert first.to_str() == train_tokenizer(num_dialogues=50, seed=1).to_str()


def test_the_trained_network_is_the_exported_graph() -> None:
    torch = pytest.importorskip("torch", reason="training needs the extra `train`")
    from models.subscriber_care.network import Network

    torch.manual_seed(1)
    network = Network(SHAPE).eval()
    weights = {n: 3 * w.detach().numpy() for n, w in network.state_dict().items()}
    network.load_state_dict({n: torch.from_numpy(w) for n, w in weights.items()})
    tokens = np.arange(3, 27, dtype=np.int64).reshape(1, -1)
    targets = np.roll(tokens, -1)

    with torch.no_grad():
        loss = network.loss(torch.from_numpy(tokens), torch.from_numpy(targets)).item()

    logits = _logits(weights, tokens)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_odds = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    expected = -np.take_along_axis(log_odds, targets[..., None], axis=-1).mean()
    assert loss == pytest.approx(expected, abs=1e-4)
    assert loss != pytest.approx(np.log(SHAPE.vocab_size), abs=0.01)


def _logits(
    weights: dict[str, np.typing.NDArray[np.float32]], tokens: np.typing.NDArray[np.int64]
) -> np.typing.NDArray[np.float32]:
    graph = build_graph(SHAPE, weights, "fp32").SerializeToString()
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    empty = np.zeros((1, SHAPE.num_kv_heads, 0, SHAPE.head_dim), np.float32)
    past = {i.name: empty for i in session.get_inputs() if i.name.startswith("past")}
    feed = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), **past}
    return np.asarray(session.run(["logits"], feed)[0])


def test_wilson_intervals_are_those_of_the_tables() -> None:
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_tally_reports_its_ratio_and_interval() -> None:
    assert Tally(81, 263).as_json() == {
        "passed": 81,
        "cases": 263,
        "ratio": 0.308,
        "wilson95": [0.2553, 0.3662],
    }


def test_a_case_wants_exactly_its_call() -> None:
    call = Called("pay_bill", {"amount": 40})
    case = Case("one", "values", [Heard("pay forty")], call)

    assert case.accepts(call)
    assert not case.accepts(Called("pay_bill", {"amount": 4}))
    assert not case.accepts(Said("pay_bill"))


def test_a_case_that_wants_words_takes_no_call() -> None:
    case = Case("one", "small_talk", [Heard("are you real")], text_pattern=r"\bAI\b")

    assert case.accepts(Said("I'm an AI."))
    assert not case.accepts(Said("I was paid."))
    assert not case.accepts(Called("ask_core_model", {}))


def test_wrong_values_are_told_apart_by_whether_they_were_said() -> None:
    case = Case(
        "values-1",
        "values",
        [Heard("pay forty dollars, no, fifty dollars")],
        Called("pay_bill", {"amount": 50}),
    )
    findings = Findings()

    findings.add(case, Called("pay_bill", {"amount": 50}))
    findings.add(case, Called("pay_bill", {"amount": 45}))
    findings.add(case, Said("How much?"))

    assert (findings.values.num_passed, findings.values.num_cases) == (1, 3)
    assert findings.values_not_said == ["values-1: amount=45"]
    assert findings.values_said_but_wrong == []
    assert findings.confusions["pay_bill"] == {"pay_bill": 2, "text": 1}
