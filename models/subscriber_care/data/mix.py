"""The endless stream of training dialogues: which intents meet, and how often."""

from collections.abc import Callable, Iterator, Sequence
from random import Random

from models.subscriber_care.data import (
    billing,
    chat,
    connection,
    mobile,
    plan,
    talk,
    technician,
    wifi,
)
from models.subscriber_care.data.noise import Style
from models.subscriber_care.data.scene import Scene
from models.subscriber_care.format import Turn

EPISODES: dict[Callable[[Scene], None], float] = {
    connection.outage: 9,
    connection.restart: 5,
    connection.speed_test: 3.5,
    technician.technician: 9,
    technician.cancel_visit: 3,
    billing.bill: 6,
    billing.payment: 11,
    plan.plan: 6,
    wifi.pause_wifi: 12,
    wifi.wifi_password: 3,
    mobile.data_usage: 3.5,
    mobile.roaming: 14,
    mobile.block_sim: 5,
    chat.human: 3.5,
    chat.person_needed: 7,
    chat.refused: 11,
    talk.small_talk: 32,
    chat.off_subject_turn: 30,
}
_MAX_EPISODES = (1, 2, 3, 4)
_EPISODE_WEIGHTS = (50, 30, 15, 5)


def dialogues(seed: int, *, start: int = 0) -> Iterator[Sequence[Turn]]:
    """Yield dialogues for ever; dialogue `i` depends on the seed and `i` alone."""
    index = start
    while True:
        yield dialogue(seed, index)
        index += 1


def dialogue(seed: int, index: int, *, style: Style | None = None) -> Sequence[Turn]:
    """Return one dialogue of one to four episodes; the caller's style is drawn if none is given."""
    scene = Scene(Random(f"{seed}:{index}"), style)
    if scene.chance(0.12):
        talk.talk_of(scene, "greeting")
    for _ in range(scene.rng.choices(_MAX_EPISODES, _EPISODE_WEIGHTS)[0]):
        scene.rng.choices(tuple(EPISODES), tuple(EPISODES.values()))[0](scene)
        if scene.chance(0.06):
            talk.talk_of(scene, "thanks")
    if scene.chance(0.08):
        talk.talk_of(scene, "bye")
    return scene.turns
