"""Conversations around a story: a request, the story, perhaps a question."""

from .story import tell
from .template import expand

_SYSTEM = (
    "You are a helpful assistant.", "You are a storyteller.", "You tell short stories.",
)
_REQUESTS = (
    "[Tell me|Write|Please tell me|Please write|Can you tell me|I want|I would like] a [short |little |]story about a~ {hk} and {about}.",
    "[Tell me|Write|Please tell me|Please write|Can you tell me|I want|I would like] a [short |little |]story about a~ {hk} and {about}.",
    "[Tell me|Write|Please tell me|Please write] a [short |little |]story about {about}.",
    "[Tell me|Write|Please tell me|Please write] a [short |little |]story about a~ {hk} named {h}.",
    "[Tell me|Write|Please tell me|Please write] a [short |little |]story about a~ {hk}.",
    "A story about {h} the {hk}, please.",
    "[Tell me|Write] a story[.| please.|, please.]",
    "[Can|Could] you tell me a story?",
)
_QUESTIONS = (
    ("[Who is the story about|Who is the hero of the story|Who is it about]?",
     "[The story|It] is about {h}, a~ {hadj} {hk}."),
    ("What is the story about?", "It is about a~ {hk} named {h} and {about}."),
    ("[Who|What] is {h}?", "{h} is a~ {hadj} {hk}."),
    ("What is the name of the {hk}?", "The name of the {hk} is {h}."),
    ("[Thank you|Thanks|That was nice|I like it]!",
     "[You are welcome|I am glad that you liked it]! Would you like another story?"),
)
_FRIEND = ("[Who|What] is {f}?", "{f} is a~ {fk} in the story.")
_LESSON = "What [is the lesson of|do we learn from|is the moral of] the story?"
_SMALL_TALK = (
    ("[Hello|Hi|Good morning|Hey][!|.|]", "[Hello|Hi]! [Would you like to hear a story|Shall I tell you a story]?"),
    ("[Who|What] are you?", "I am a very small model that tells short stories. [Ask me for one|What shall it be about]?"),
    ("What is your name?", "I have no name. I am a small model that tells stories."),
    ("What can you do?", "I can tell you a short story. [Name an animal and a thing|Tell me what it should be about]."),
    ("How are you[| today]?", "I am well, thank you. [Would you like a story|Shall I tell you a story]?"),
    ("[Goodbye|Bye|Good night][!|.]", "[Goodbye|Good night]! Come back for another story."),
    ("[Thank you|Thanks][!|.]", "You are welcome!"),
    ("[Help|Can you help me][!|?]", "I can only tell short stories. Would you like one?"),
)


def converse(dice) -> list:
    """A conversation as (role, text) pairs."""
    turns = []
    if dice.chance(0.15):
        turns.append(("system", dice.pick(_SYSTEM)))
    if dice.chance(0.15):
        _add_exchange(turns, dice.pick(_SMALL_TALK), {}, dice)
        if dice.chance(0.7):
            return turns
    story = tell(dice)
    slots = dict(story.slots, about=story.plot.about)
    if story.text.startswith("Once upon a time") and dice.chance(0.15):
        request = "Once upon a time"
    else:
        request = expand(dice.pick(_REQUESTS), slots, dice)
    turns += [("user", request), ("assistant", story.text)]
    if dice.chance(0.5):
        questions = list(_QUESTIONS)
        if f" {slots['f']} " in story.text:
            questions.append(_FRIEND)
        questions.append((_LESSON, "[" + "|".join(story.plot.lesson) + "]"))
        _add_exchange(turns, dice.pick(questions), slots, dice)
    return turns


def _add_exchange(turns, exchange, slots, dice):
    question, answer = exchange
    turns.append(("user", expand(question, slots, dice)))
    turns.append(("assistant", expand(answer, slots, dice)))
