"""Changing to another plan."""

from collections.abc import Mapping

from models.subscriber_care.data.form import Form, Slot, fill
from models.subscriber_care.data.indirect import PLAN
from models.subscriber_care.data.scene import Scene
from models.subscriber_care.data.spoken import Value

_PLAN_WORDS = {
    "basic": "[the] (basic|basic plan|basic one|cheapest plan|basic tariff|cheapest one|basic "
    "package)",
    "plus": "[the] (plus|plus plan|plus one|middle plan|plus tariff|plus package)",
    "unlimited": "[the] (unlimited|unlimited plan|unlimited one|unlimited tariff|biggest "
    "plan|unlimited "
    "package|one without limits|unlimited data plan)",
}


def _plan(scene: Scene) -> Value:
    name = scene.rng.choice(tuple(_PLAN_WORDS))
    return Value(name, _PLAN_WORDS[name])


def _read_plan(scene: Scene, arguments: Mapping[str, str | int]) -> bool:
    plan = str(arguments["plan"])
    draw = scene.rng.random()
    if draw < 0.12:
        scene.gets(error="already_on_plan", plan=plan)
        scene.says(
            "You're already on the {plan} plan[, so nothing changes].", plan=plan.capitalize()
        )
        return True
    if draw < 0.24:
        scene.gets(error="declined_by_caller")
        scene.says(
            "(Okay|Alright|No problem), (your plan stays as it is|I have not changed your plan)."
        )
        return scene.chance(0.4)
    starts = scene.rng.choice(("next bill", "next bill", "today", "tomorrow", "next month"))
    scene.gets(plan=plan, starts=starts)
    scene.says(
        (
            "(Done|All set|Okay), you('re moving| will move) to the {plan} plan with your next "
            "bill."
            if starts == "next bill"
            else "(Done|All set|Okay), your {plan} plan starts {starts}."
        ),
        plan=plan.capitalize(),
        starts=starts,
    )
    return True


_CHANGE_PLAN = Form(
    tool="change_plan",
    slots={
        "plan": Slot(
            _plan,
            (
                "{value} [please]",
                "[i'll take|i want|let's go with|give me|i'd like] {value} [please]",
            ),
            vague=(
                "a better plan",
                "something cheaper",
                "a bigger plan",
                "the premium plan",
                "a smaller plan",
                "the gold plan",
                "something else",
                "the family plan",
            ),
            vague_answer="[um] {vague} [please]",
        )
    },
    requests={
        "plan": (
            *PLAN,
            "(my (cousin|friend|brother|sister|colleague|neighbour|boss|dad) (has|is on|got|uses)) "
            "{plan} and i want (that one|that|it|the same [one]) [too|as well|please]",
            "(i don't need (all this|so much|this much)|it's too much|i hardly use it|money is "
            "tight)[,] "
            "(drop|move|put|switch|take) me [down] to {plan}",
            "(i need more|i always run out|it's not enough|we stream a lot)[,] (bump|move|put|"
            "switch|"
            "upgrade) me [up] to {plan}",
            "(put|stick|place|get|move) (me|us|my line|this account) on {plan} [please|from now on|"
            "instead]",
            "(from (now on|next month)|starting next month) (i want|i'd like|put me on|give me) "
            "{plan}",
            "(go|going) (for|with|to) {plan} [please|then]",
            "(bump|drop|take|get|shift|set|sign) me (up to|down to|over to|on|up for) {plan}",
            "(i think|i reckon|i've decided) (i want|i'd like|i'll take|i need) {plan}",
            "(i'd rather have|i'd prefer|let me have|make it|let's go for|time for) {plan} "
            "[instead|from now on]",
            "(my (friend|brother|wife|neighbour) has|i heard about|i read about|i saw) {plan} "
            "(and|so) i want "
            "(it|that|the same) [too]",
            "(change|switch|move|upgrade|downgrade|put|swap) (me|my plan|my tariff|us|my "
            "account) (to|onto|"
            "over to) {plan}",
            "(i want|i'd like|i need|we want|i wanna|can i) [to] "
            "(change|switch|move|upgrade|go|downgrade) "
            "[my plan] to {plan}",
            "(can|could) (you|i|we) (change|switch|move|upgrade|put) [me|us|my plan] to {plan}",
            "(i want|i'd like|give me|i'll take|sign me up for|can i have|can i get|get me|i "
            "need) {plan}",
            "(is it possible to|how do i) (change|switch|upgrade|move) to {plan}",
            "(change|my) plan to {plan}",
        ),
        "": (
            "(i|we) (fancy|need|want|would like|could use) a (different|new|better|cheaper|bigger|"
            "smaller) (tariff|plan|package|deal|contract)",
            "(is there|have you got|do you offer) (anything|something) (cheaper|better|bigger|"
            "smaller) "
            "[for me|than my plan]",
            "(change|switch|upgrade|downgrade|i want to change|i'd like to change|can i "
            "change|can you "
            "change|i need to switch|i want to upgrade) (my|the) "
            "(plan|tariff|package|subscription plan|"
            "mobile plan|internet plan|contract plan)",
            "(i want|i'd like|i need|can i have|get me|are there|do you have) (a "
            "different|another|a new|a "
            "better|a cheaper|a bigger|a smaller|other) (plan|tariff|package|plans)",
            "(what plans (do you have|are there)|which plans can i (have|get|choose)|tell me "
            "about your "
            "plans|what are the plans)",
            "(i'm thinking about|i fancy|i'm interested in|what about) (changing my plan|another "
            "plan|a new "
            "tariff|switching plans|a plan change)",
            "(my plan is|it's) too (expensive|small|big|slow) (for me|can i change it)",
        ),
    },
    questions={
        "plan": (
            "(Sure, which|Okay, which|Which|Of course, which) plan would you like: Basic, Plus "
            "or Unlimited?",
            "(There are three plans|You can have|We have): Basic, Plus and Unlimited. Which one "
            "would you "
            "like?",
        )
    },
    finish=_read_plan,
)


def plan(scene: Scene) -> None:
    """Play a change of plan."""
    fill(scene, _CHANGE_PLAN)
