"""Bills and payments."""

from gateway.session.phrases import HOW_MUCH
from models.subscriber_care.data.billing_wishes import (
    EITHER_BILL,
    LAST_BILL_WISHES,
    OPEN_BALANCE,
    PAY_ALL_WISHES,
    PAY_SUM_WISHES,
    PAY_UNSAID,
    RELATIVE,
)
from models.subscriber_care.data.chat_words import BACK_OUT, BACKED_OUT, NO, YES
from models.subscriber_care.data.scene import Patterns, Scene, joined
from models.subscriber_care.data.spoken import any_size, dollars, number
from models.subscriber_care.data.trouble import fails

_ANSWER_SUM = (
    "{amount} (should|will|would|ought to) (do [it]|be fine|be enough|cover it|work)",
    "(i think|i'd say|say|about|maybe|let me do|i'll do|i can manage) {amount}",
    "{amount}",
    "{amount} [please]",
    "[um] (let's say|make it|say|maybe|i'd like to pay|just|i can do) {amount} [please]",
)
_ASK_SUM = (
    "(Sure, how|Okay, how|How|Of course, how) (much|many dollars) would you like to pay[, in "
    "whole dollars]?",
)
_ASK_RELATIVE = (
    "(Sure, how many|Okay, how many|How many) dollars is that? (Please give me|Just tell me|I "
    "need) the "
    "amount.",
)


def _dollars(amount: int) -> str:
    return f"{amount} dollar{'s' * (amount != 1)}"


def bill(scene: Scene) -> None:
    """Play a question about a bill, with the payment or the other bill after it at times."""
    draw = scene.rng.random()
    if draw < 0.12:
        scene.hears(joined("{wish}"), wish=scene.phrase(EITHER_BILL))
        scene.says("(Sure, your|Okay, your|Your) current bill or (the last one|last month's)?")
        period = scene.rng.choice(("current", "last"))
        scene.hears({
            "current": "[the] (current|this month's|newest|latest) [one|bill] [please]",
            "last": "[the] (last|previous|last month's) [one|bill] [please]",
        }[period])  # fmt: skip
    else:
        period = "last" if draw < 0.45 else "current"
        wishes = LAST_BILL_WISHES if period == "last" else OPEN_BALANCE
        scene.hears(joined("{wish}"), wish=scene.phrase(wishes))
    _read_bill(scene, period)


def _read_bill(scene: Scene, period: str) -> None:
    scene.calls("get_bill", period=period)
    if scene.chance(0.05):
        fails(scene)
        return
    total = any_size(scene.rng)
    open_sum = scene.rng.choice((0, total, total, scene.rng.randrange(total + 1)))
    if period == "last":
        _read_last(scene, total, open_sum)
        return
    due = scene.rng.randrange(31)
    scene.gets(period=period, total_dollars=total, open_dollars=open_sum, due_in_days=due)
    if open_sum == 0:
        scene.says("(Good news, your|Your) bill of {total} is (paid|fully paid). Nothing is open.",
                   total=_dollars(total))  # fmt: skip
        return
    when = "today" if due == 0 else "tomorrow" if due == 1 else f"in {due} days"
    scene.says(
        "Your (current |)bill is {total}" + (", due {when}." if open_sum == total else
        ", {open} still open, due {when}."),
        total=_dollars(total), open=_dollars(open_sum), when=when,
    )  # fmt: skip
    if scene.chance(0.3):
        _after_bill(scene, open_sum)


def _read_last(scene: Scene, total: int, open_sum: int) -> None:
    scene.gets(period="last", total_dollars=total, open_dollars=open_sum)
    state = "still open" if open_sum else "it's (fully |)paid"
    scene.says(
        "Your last bill was {total}" + (", and " if not open_sum else ", {open} ") + state + ".",
        total=_dollars(total), open=_dollars(open_sum),
    )  # fmt: skip
    if scene.chance(0.15):
        scene.hears("(and|what about|how about|and what's) (this month|the current one|this one|my "
                    "current bill|now)")  # fmt: skip
        _read_bill(scene, "current")


def _after_bill(scene: Scene, open_sum: int) -> None:
    draw = scene.rng.random()
    if draw < 0.35:
        scene.hears("(okay|ok|alright|great|fine|) (pay it|i'll pay that|pay it all|pay that|i "
            "want to pay "
                    "it [now]|let me pay that|pay the whole thing|pay it please|can i pay it "
                    "now)")  # fmt: skip
        _pay(scene, None, balance=open_sum)
    elif draw < 0.8:
        amount = dollars(scene.rng, typed=scene.typed)
        scene.hears("(okay|ok|alright|) (pay|put|i'll pay|i want to pay|take|let me pay) "
            "{amount} [of it|of "
                    "that|now|on it|please]", amount=amount.words)  # fmt: skip
        _pay(scene, int(amount.value), balance=open_sum)
    else:
        scene.hears(
            "(and|what about|how about) (last month|the last one|the previous one|the one before)"
        )
        _read_bill(scene, "last")


def payment(scene: Scene) -> None:
    """Play a payment: a sum, the whole balance, or a sum still to be asked for."""
    draw = scene.rng.random()
    if draw < 0.2:
        scene.hears(joined("{wish}"), wish=scene.phrase(PAY_ALL_WISHES))
        _pay(scene, None)
        return
    if draw < 0.74:
        _hear_sum(scene, PAY_SUM_WISHES)
        return
    if draw < 0.84:
        _ask_sum(scene, PAY_UNSAID, _ASK_SUM)
    elif draw < 0.93:
        scene.hears("{pay} {part}", pay=scene.phrase("(pay|i want to pay|i'd like to pay|can i "
            "pay|let me "
                    "pay|i'll pay)"), part=scene.phrase(RELATIVE))  # fmt: skip
        _ask_sum(scene, (), _ASK_RELATIVE)
    else:
        whole = any_size(scene.rng, 500)
        cents = scene.rng.randrange(1, 100)
        digits = scene.typed or scene.chance(0.3)
        said = f"(${whole}.{cents:02}|{whole}.{cents:02} dollars)" if digits else (
            f"{number(whole, scene.rng, digits=False)} dollars (and|) "
            f"{number(cents, scene.rng, digits=False)} cents"
        )  # fmt: skip
        scene.hears(PAY_SUM_WISHES, amount=scene.phrase(said))
        scene.says(
            "(Sorry, I|I) can only take whole dollars. (How many|How many dollars) shall I pay?"
        )
        _hear_sum(scene, ("{amount}", "{amount} then", "make it {amount}", "okay {amount} please"))


def _ask_sum(scene: Scene, wishes: Patterns, question: Patterns) -> None:
    if wishes:
        scene.hears(joined("{wish}"), wish=scene.phrase(wishes))
    if scene.chance(0.25):
        scene.session_says(HOW_MUCH)
    else:
        scene.says(question)
    draw = scene.rng.random()
    if draw < 0.12:
        scene.hears("[um] (all of it|everything|the whole balance|the full amount|in "
            "full|all|the whole "
                    "thing|pay it all) [please]")  # fmt: skip
        _pay(scene, None)
    elif draw < 0.2:
        scene.hears(BACK_OUT)
        scene.says(BACKED_OUT)
    elif draw < 0.3:
        scene.hears(RELATIVE)
        _ask_sum(scene, (), _ASK_RELATIVE)
    else:
        _hear_sum(scene, _ANSWER_SUM)


def _hear_sum(scene: Scene, patterns: Patterns) -> None:
    amount = dollars(scene.rng, typed=scene.typed)
    words = amount.words
    if patterns is _ANSWER_SUM and scene.chance(0.4):
        words = words.removesuffix(" dollars")
    if scene.chance(0.1):
        wrong = dollars(scene.rng, typed=scene.typed).words
        words = f"{wrong} {scene.phrase('(no|no wait|sorry|i mean|no sorry|actually)')} {words}"
    scene.hears(joined("{wish}"), wish=scene.phrase(patterns, amount=words))
    _pay(scene, int(amount.value))


def _pay(scene: Scene, amount: int | None, balance: int = 0) -> None:
    """Call the tool for `amount` dollars (all when none) and read out one of its results."""
    scene.calls("pay_bill", **({} if amount is None else {"amount": amount}))
    draw = scene.rng.random()
    if draw < 0.05:
        fails(scene)
    elif draw < 0.15:
        scene.gets(error="declined_by_caller")
        scene.says(
            "(Okay|Alright|No problem), (nothing was paid|I have not paid anything). [Anything "
            "else?]"
        )
        if scene.chance(0.5):
            _hear_sum(
                scene,
                ("(make it|pay|i want to pay|it should be|i said) {amount} [instead|please]",),
            )
    elif draw < 0.22:
        scene.gets(error="nothing_to_pay")
        scene.says("(Good news|No need), there's nothing (to pay|open) (right now|at the moment).")
    elif amount is not None and (draw < 0.34 or amount > balance > 0):
        open_sum = balance if 0 < balance < amount else scene.rng.randrange(amount)
        scene.gets(error="amount_exceeds_balance", open_dollars=open_sum)
        if not scene.chance(0.5):
            _sum_too_large(scene, open_sum)
            return
        scene.says("(Sorry, that's|That's) more than you owe: (only |){open} open. Shall I pay "
            "that?",
                   open=_dollars(open_sum))  # fmt: skip
        if open_sum and scene.chance(0.6):
            if scene.chance(0.7):
                scene.hears(YES)
                scene.calls("pay_bill")  # the amount was the assistant's word, not the caller's
                _paid(scene, open_sum, 0)
            else:
                scene.hears(NO)
                scene.says("(Okay|Alright), (nothing was paid|I have not paid anything).")
    else:
        paid = amount or balance or any_size(scene.rng)
        left = (
            0
            if amount is None or amount == balance
            else max(balance - paid, 0) or any_size(scene.rng)
        )
        _paid(scene, paid, left)


def _sum_too_large(scene: Scene, open_sum: int) -> None:
    """Let the session name the open sum, and the caller pay it, or less, or nothing."""
    scene.says("Sorry, that's more than you owe: only {open} open.", open=_dollars(open_sum))
    draw = scene.rng.random()
    if open_sum and draw < 0.3:
        scene.hears("(okay|oh|alright|fine|then|i see|right)[,] (just |then |)(pay (it all|the lot|"
                    "all of it|that|what's open|everything|the whole thing)|settle (it|that)|clear "
                    "(it|the lot)) [then|please]")  # fmt: skip
        _pay(scene, None, balance=open_sum)
    elif open_sum > 1 and draw < 0.6:
        _hear_less(scene, scene.rng.randrange(1, open_sum), open_sum)
    elif draw < 0.75:
        scene.hears(BACK_OUT)
        scene.says(BACKED_OUT)


def _hear_less(scene: Scene, amount: int, open_sum: int) -> None:
    scene.hears(
        "(then|okay|oh|well|sorry|alright)[,] (make (it|that)|pay|do|take|let's say|i'll pay) "
        "{amount} [dollars] [then|instead|please]",
        amount=number(amount, scene.rng, digits=scene.typed),
    )
    _pay(scene, amount, balance=open_sum)


def _paid(scene: Scene, paid: int, left: int) -> None:
    scene.gets(paid_dollars=paid, open_dollars=left)
    scene.says(
        "(Done|Thank you|All done), (you paid {paid}|{paid} paid). {rest}",
        paid=_dollars(paid),
        rest=f"{_dollars(left)} remain{'s' * (left == 1)} open."
        if left
        else "Nothing is open any more.",
    )
