import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.request_mood import Mood, read_mood

_MOODS = {
    Mood.REQUEST: (
        "restart my router",
        "could you please restart my router?",
        "would you please restart my router",
        "why don't you restart my router",
        "can you send someone on monday morning",
        "can I have a technician on monday morning?",
        "what's going on? restart my router",
        "do you know what is wrong can you restart my router",
        "I've restarted it twice already, send a technician",
        "cancel my visit, I don't need it any more",
        "I'd like a pass for Spain",
        "a pass for Spain please",
    ),
    Mood.STATED: ("monday morning", "my router is stuck", "roaming in Spain", ""),
    Mood.QUESTION: (
        "what does roaming in Spain for 5 days cost?",
        "does add roaming for france for 3 days cost extra?",
        "what was my technician's reference?",
        "how long is a technician visit?",
        "can I cancel the technician later?",
        "can a technician come on monday morning?",
        "what happens if I pause the wifi",
        "how do I pause the wifi",
        "should I restart my router?",
        "do I need a technician",
        "can you tell me how to restart the router",
        "restart my router?",
        "monday morning?",
        "don't cancel my visit, I need the technician",
    ),
    Mood.PAST: ("I just restarted my router", "I paid you 30 dollars yesterday, did it arrive?"),
    Mood.REFUSED: (
        "don't cancel my visit",
        "Don’t restart the router",
        "never send a technician on tuesday afternoon",
        "don't pause the wifi for the kids for 30 minutes",
        "I don't want you to cancel it",
    ),
    Mood.UNWANTED: ("I don't need roaming in Japan for 4 days", "I don't want a technician"),
}


@pytest.mark.parametrize(
    ("text", "mood"), [(text, mood) for mood, texts in _MOODS.items() for text in texts]
)
def test_the_mood_of_a_request(text: str, mood: Mood) -> None:
    assert read_mood([text]) is mood


def test_what_only_fills_in_leaves_the_mood_as_it_was() -> None:
    assert read_mood(["what does roaming cost?", "Spain", "five days"]) is Mood.QUESTION
    assert read_mood(["add roaming", "Spain", "five days"]) is Mood.REQUEST
    assert read_mood(["is there an outage?", "yes, restart it"]) is Mood.REQUEST
    assert read_mood([]) is Mood.STATED


@given(st.lists(st.text(max_size=80), max_size=3))
def test_any_text_has_a_mood(utterances: list[str]) -> None:
    assert read_mood(utterances) in Mood
