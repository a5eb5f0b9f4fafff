"""The template language of the sentence banks.

    [a|b|c]     one of the alternatives, which may nest
    {slot}      the value of a slot of the story, itself a template;
                {Slot} capitalises it
    {~list}     a word drawn from a list of the lexicon; {~List} capitalises it
    {x=~list}   the same, remembered as slot x for later sentences
    a~ word     "a" or "an", whichever the next word asks for
"""

import re
from functools import lru_cache

from .lexicon import WORDS

_TOKEN = re.compile(r"\[|\]|\||\{[^}]*\}|[^\[\]|{}]+")
_ARTICLE = re.compile(r"\b([Aa])~ (\w+)")
_FIRST_LETTER = re.compile(r'^("?)([a-z])')
_AN_EXCEPTIONS = ("hour", "honest")
_A_EXCEPTIONS = ("use", "uni", "one")


def article(word: str) -> str:
    """The indefinite article that the sound of `word` asks for."""
    word = word.lower()
    if word.startswith(_AN_EXCEPTIONS):
        return "an"
    if word.startswith(_A_EXCEPTIONS):
        return "a"
    return "an" if word[0] in "aeiou" else "a"


def capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


@lru_cache(maxsize=None)
def _parse(template: str):
    """The template as nested sequences: str, ("slot", name), ("alt", [seq])."""
    tokens = _TOKEN.findall(template)
    sequence, position = _parse_sequence(tokens, 0, template)
    if position != len(tokens):
        raise ValueError(f"unbalanced template: {template}")
    return sequence


def _parse_sequence(tokens, position, template):
    sequence = []
    while position < len(tokens):
        token = tokens[position]
        if token in "|]":
            break
        position += 1
        if token == "[":
            branches = []
            while True:
                branch, position = _parse_sequence(tokens, position, template)
                branches.append(branch)
                if position >= len(tokens):
                    raise ValueError(f"unclosed bracket: {template}")
                position += 1
                if tokens[position - 1] == "]":
                    break
            sequence.append(("alt", branches))
        elif token[0] == "{":
            sequence.append(("slot", token[1:-1]))
        else:
            sequence.append(token)
    return sequence, position


def _slot(name, slots, dice):
    """The text of one {...}, whatever its form."""
    remember, found, source = name.partition("=")
    if not found:
        remember, source = None, name
    if source[0] == "~":
        key = source[1:]
        value = _render(_parse(dice.pick(WORDS[key.lower()])), slots, dice)
        if key[0].isupper():
            value = capitalise(value)
    elif source in slots:
        value = slots[source]
        if "{" in value or "[" in value:
            value = _render(_parse(value), slots, dice)
    else:
        value = capitalise(_slot(source[0].lower() + source[1:], slots, dice))
    if remember:
        slots[remember] = value
    return value


def _render(sequence, slots, dice):
    out = []
    for part in sequence:
        if isinstance(part, str):
            out.append(part)
        elif part[0] == "slot":
            out.append(_slot(part[1], slots, dice))
        else:
            out.append(_render(dice.pick(part[1]), slots, dice))
    return "".join(out)


def expand(template: str, slots: dict, dice) -> str:
    """One sentence (or a few) of `template`, starting with a capital."""
    text = _render(_parse(template), slots, dice)
    text = _ARTICLE.sub(lambda m: _keep_case(m[1], article(m[2])) + " " + m[2], text)
    return _FIRST_LETTER.sub(lambda m: m[1] + m[2].upper(), text)


def _keep_case(model: str, word: str) -> str:
    return capitalise(word) if model == "A" else word
