"""Putting a story together: cast, opening, plot, ending and lesson."""

from dataclasses import dataclass

from . import plots_find, plots_heart, plots_journey, plots_make
from .beats import BACKGROUND, DETAIL, ENDING, ONCE, ONE_DAY, OTHER_OPENING, SKY, Plot
from .cast import new_cast
from .lexicon import WORDS
from .template import expand

PLOTS = plots_find.PLOTS + plots_heart.PLOTS + plots_make.PLOTS + plots_journey.PLOTS

_SAID = "[{he} said|said {h}|{h} {~said}|{~said} {h}|{he} {~said}]"
_ONCE_UPON_A_TIME = 0.4
_LESSON = 0.4
_THE_END = 0.1
_PARAGRAPHS = 0.5
_LEAD = "[{h} learned something that day. |And so they learned a lesson. ||]"


@dataclass
class Story:
    text: str
    plot: Plot
    slots: dict
    mode: str


def tell(dice) -> Story:
    """Draw one story."""
    plot = dice.pick(PLOTS)
    mode = dice.pick(plot.modes)
    slots = new_cast(dice)
    slots.update(
        hadj=dice.pick(WORDS["kindadj"]),
        hhome=dice.pick(WORDS["animalhome" if slots["hfolk"] == "animal" else "humanhome"]),
        hself="himself" if slots["he"] == "he" else "herself",
        hsaid=_SAID,
        oneday="[" + "|".join(ONE_DAY) + "]",
    )
    if plot.setup:
        plot.setup(slots, dice)
    opening = ONCE if dice.chance(_ONCE_UPON_A_TIME) else OTHER_OPENING
    head = _sentences((opening, BACKGROUND), mode, slots, dice)
    body = _sentences(_with_details(plot.beats), mode, slots, dice)
    tail = _sentences((ENDING,), mode, slots, dice)
    if dice.chance(_LESSON):
        tail.append(expand(_LEAD + dice.pick(plot.lesson), slots, dice))
    if dice.chance(_THE_END):
        tail.append("The end.")
    return Story(_lay_out(head, body, tail, dice), plot, slots, mode)


def _with_details(beats):
    third = len(beats) // 3
    return (
        beats[0], SKY, *beats[1:third + 1], DETAIL,
        *beats[third + 1:-2], DETAIL, *beats[-2:],
    )


def _sentences(beats, mode, slots, dice):
    return [
        expand(dice.pick(beat.options), slots, dice)
        for beat in beats
        if beat.when in ("", mode) and dice.chance(beat.p)
    ]


def _lay_out(head, body, tail, dice):
    if not dice.chance(_PARAGRAPHS):
        return " ".join(head + body + tail)
    middle = len(body) // 2
    parts = [head + body[:middle], body[middle:], tail]
    return "\n\n".join(" ".join(part) for part in parts if part)
