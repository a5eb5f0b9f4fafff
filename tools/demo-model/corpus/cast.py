"""Who and what a story is about: characters, places and things as slots."""

from .lexicon import ANIMALS, BOYS, CHILD_KINDS, GIRLS, PETS, PLACES, TREASURES, WORKERS

# The third of a story is often "an old ..." somebody, so never a child.
_FOLK = {
    "h": {"animal": 5, "child": 3, "worker": 1},
    "f": {"animal": 6, "child": 2, "worker": 1},
    "t": {"animal": 5, "worker": 2},
}
_PRONOUNS = {"m": ("he", "him", "his"), "f": ("she", "her", "her")}


def add_character(slots, dice, prefix: str, taken: dict):
    """Cast one character under the slots `prefix`, `prefix`k (its kind), and

    e, m, s for he, him and his. `taken` holds the names and kinds in use, so
    that no two characters of a story can be mistaken for each other.
    """
    gender = dice.pick("fm")
    folk = dice.weighted(_FOLK[prefix])
    if folk == "animal":
        names, kinds = PETS, ANIMALS
    else:
        names = GIRLS if gender == "f" else BOYS
        kinds = CHILD_KINDS[gender] if folk == "child" else WORKERS
    name = dice.pick([n for n in names if n not in taken["names"]])
    kind = dice.pick([k for k in kinds if k not in taken["kinds"]] or kinds)
    taken["names"].add(name)
    taken["kinds"].add(kind)
    subject, object_, possessive = _PRONOUNS[gender]
    slots.update({
        prefix: name, prefix + "k": kind, prefix + "e": subject,
        prefix + "m": object_, prefix + "s": possessive,
        prefix + "folk": folk,
    })


def add_place(slots, dice, prefix: str, taken: dict):
    """A place: `prefix` is "the forest", `prefix`at is "in the forest"."""
    place = dice.pick([p for p in PLACES if p not in taken["places"]])
    taken["places"].add(place)
    slots[prefix] = f"the {place}"
    slots[prefix + "at"] = f"{PLACES[place]} the {place}"


def add_thing(slots, dice, prefix: str, taken: dict):
    """A treasure: `prefix` is "ring", `prefix`x is the ring with its look."""
    thing = dice.pick([t for t in TREASURES if t not in taken["things"]])
    taken["things"].add(thing)
    look = dice.pick(_LOOKS)
    slots[prefix] = thing
    slots[prefix + "x"] = f"{look} {thing}"


_LOOKS = [
    "red", "blue", "green", "yellow", "purple", "golden", "silver", "white",
    "shiny", "old", "tiny", "wooden", "striped", "pretty", "broken", "painted",
]


def new_cast(dice) -> dict:
    """Slots for the characters h, f and t, the places p and q, the things o and u."""
    slots = {}
    taken = {"names": set(), "kinds": set(), "places": set(), "things": set()}
    for prefix in "hft":
        add_character(slots, dice, prefix, taken)
    for prefix in "pq":
        add_place(slots, dice, prefix, taken)
    for prefix in "ou":
        add_thing(slots, dice, prefix, taken)
    return slots
