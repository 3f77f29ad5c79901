"""How callers agree, decline and take a request back."""

BACK_OUT = (
    "(oh|actually|no|ah|hmm|you know what|sorry)[,] (never mind|forget it|forget about it|leave it|"
    "don't bother|it doesn't matter|i changed my mind|i've changed my mind|cancel that|stop)",
    "(never mind|forget it|leave it|not now|don't worry about it|let's leave it) "
    "[then|thanks|for now]",
    "i('ll| will) (do it|call back|think about it) (later|another (time|day)|tomorrow)",
    "(oh|ah|oops|good news|hey|wait)[,] (forget (it|about it)|never mind|leave it|stop)[,] (it "
    "just (came back on|started working|sorted itself out)|it works again|my (son|wife) (fixed it|"
    "will (look|have a look|do it)))",
    "(no|nah|oh)[,] (leave it|don't|i'd rather not|let it be|skip it|drop it|i'm not sure yet|i "
    "need to think [about it] [first]) [for now|then|thanks]",
)
BACKED_OUT = (
    "(No problem|That's fine|Okay|Alright), (nothing was changed|I have not changed anything|I'll "
    "leave it as it is). [(Anything else|Is there anything else I can do)?]",
)
YES = (
    "(yes|yeah|yep|yup|sure|ok|okay|please do|go ahead|yes please|do it|that would be great|of "
    "course|"
    "please|alright|sounds good|fine|absolutely|yes go ahead|go for it|mhm yes) [thanks]",
)
NO = (
    "(no|nope|no thanks|no thank you|not now|not really|no that's fine|no need|nah|no don't|rather "
    "not|i'd rather not|no leave it)",
)
