"""Beats, the steps of a plot, and the beats that all plots share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Beat:
    """One step: a template drawn from `options`, told with probability `p`

    and only where the story's mode is `when` (any mode if empty).
    """

    options: tuple
    p: float = 1.0
    when: str = ""


def one(*options, when=""):
    return Beat(options, when=when)


def maybe(p, *options, when=""):
    return Beat(options, p=p, when=when)


@dataclass(frozen=True)
class Plot:
    """A plot: its beats, the modes it may take and what it is about.

    `about` names, in a template, the thing that a reader may ask for.
    `setup` draws what the beats need beyond the common cast.
    """

    name: str
    beats: tuple
    modes: tuple = ("",)
    about: str = ""
    setup: object = None
    lesson: tuple = ()


ONCE = one(
    "Once upon a time, there was a~ {hadj} {hk} named {h}.",
    "Once upon a time, there lived a~ {hadj} {hk} called {h}.",
    "Once upon a time, a~ {hadj} {hk} named {h} lived in a~ {~size} {hhome} {~near} {p}.",
    "Once upon a time, {pat}, there lived a~ {hadj} {hk} named {h}.",
    "Once upon a time, there was a~ {hadj} {hk} named {h} who lived in a~ {~size} {hhome}.",
)

OTHER_OPENING = one(
    "{h} was a~ {hadj} {hk} who lived {~near} {p}.",
    "There was once a~ {hadj} {hk} named {h}.",
    "Long ago, a~ {hadj} {hk} named {h} lived {~near} {p}.",
    "Far away, in a~ {~size} {hhome} {~near} {p}, lived a~ {hadj} {hk} called {h}.",
    "In a~ {~size} {hhome} {~near} {p} lived {h}, a~ {hadj} {hk}.",
    "Everyone {~near} {p} knew {h}, the {hadj} {hk}.",
    "This is the story of {h}, a~ {hadj} {hk}.",
    "Not so long ago, there was a~ {hadj} {hk} whose name was {h}.",
    "It was a~ {~weather} {~time}, and a~ {hadj} {hk} named {h} was {~job}.",
    "One {~season}, a~ {hadj} {hk} named {h} came to live {~near} {p}.",
)

BACKGROUND = maybe(
    0.6,
    "{h} [loved|liked] {~hobby}.",
    "{h} [loved|liked] {~hobby}, and {hs} best friend was {f}, a~ {fk}.",
    "Every {~time}, {h} liked {~hobby}.",
    "{h} had a friend named {f}, who was a~ {fk}.",
    "{he} liked {~hobby} more than anything else.",
    "{h} lived with {hs} [mother|father|grandmother|grandfather|two brothers|three sisters].",
)

ONE_DAY = (
    "[one|on one] {~weather} {~time}", "one {~time}", "one {~season} {~time}",
    "on {~weekday}", "early one [morning|afternoon|evening]", "one day", "one {~weather} day",
)

SKY = maybe(
    0.25,
    "[Birds|Crickets|Frogs] were singing [in the trees|all around|nearby].",
    "Somewhere [far away|nearby], a bell was ringing.",
    "The air smelled of {~smell}.",
    "The leaves were [falling|green|dancing in the wind].",
    "One cloud looked like {~shape}.",
)

ENDING = maybe(
    0.75,
    "[That night|That evening], {h} [slept well|went to bed with a smile|dreamed of {p}].",
    "From that day on, {h} and {f} were [the best of friends|always together|never apart for long].",
    "And they [all |]lived happily ever after.",
    "Then they all [went home|had {~meal}|drank {~drink}|laughed] together.",
    "{h} [went home|walked home|skipped home] feeling {~glad}.",
    "It was the best day of the whole [week|month|year].",
    "And {h} never forgot that day.",
    "After that, {h} and {f} [shared|ate] {~meal} and [talked|sang|told stories] until [dark|bedtime|the stars came out].",
)

# A look around, told anywhere within a plot; it has no part in it.
DETAIL = maybe(
    0.3,
    "A~ {~color} {~bird} [sat|slept|was watching|sang] {~spot}.",
    "[Somewhere|Far away|Nearby], a~ {~folk} was {~job}.",
    "There was a smell of {~smell} and {~smell} in the air.",
    "A~ {~look} {~item} lay {~spot}, but nobody [saw|noticed|needed] it.",
    "{~Few} {~birds} [flew|went|came] by.",
    "The {~flowers} {~near} the [path|road|wall|house] were {~color} and {~color}.",
    "In the distance, [someone|a~ {~folk}] was playing the {~instrument}.",
    "[A long|An early|A fine] {~season} was coming, everyone said.",
    "{h} was wearing a~ {~color} {~clothes} that day.",
    "[It was the time of|There were] {~fruit} and {~flowers} [everywhere|all around|in every garden].",
)

