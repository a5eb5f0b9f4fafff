"""Plots about making, growing, counting and learning."""

from .beats import Plot, maybe, one

_NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def _counting(slots, dice):
    """A little sum: start, minus what is given away, plus what is found."""
    start = dice.pick(range(3, 9))
    given = dice.pick(range(1, start))
    found = dice.pick(range(1, 5))
    slots.update(
        n1=_NUMBERS[start], n2=_NUMBERS[given], n3=_NUMBERS[start - given],
        n4=_NUMBERS[found], n5=_NUMBERS[start - given + found],
        things=dice.pick(["apples", "pears", "plums", "shells", "marbles", "cookies", "buttons", "eggs", "nuts", "coins"]),
    )


COUNTING = Plot(
    "counting", about="{things}", setup=_counting,
    lesson=("Those who give will also get.", "Counting is fun when you share.",),
    beats=(
        one(
            "{oneday}, {h} had {n1} {things} in a basket.",
            "{oneday}, {h} counted {hs} {things}. There were {n1}.",
        ),
        one(
            "On the way to {p}, {he} met {f} the {fk}, who had no {things} at all.",
            "Then {f}, a~ {fk}, came by. \"I wish I had some {things},\" {fe} said.",
        ),
        one(
            "{h} gave {f} {n2} of the {things}. Now {he} had {n3} left.",
            "\"You can have {n2} of mine,\" {hsaid}. That left {n3} for {hm}.",
        ),
        one(
            "\"{~Thanks}!\" said {f}.",
            "{f} was so {~glad} that {fe} [danced|jumped|clapped].",
        ),
        one(
            "A little later, {h} found {n4} more {pat}.",
            "{Qat}, {t} the {tk} gave {hm} {n4} more.",
        ),
        one(
            "Now there were {n5} {things} in the basket.",
            "{h} counted again. \"{N3} and {n4} make {n5}!\" {he} said.",
        ),
    ),
)

CRAFTS = {
    "boat": "sail across {p}", "raft": "float down the river", "treehouse": "see as far as {p}",
    "bench": "sit and look at {p}", "birdhouse": "give the birds a home", "cart": "carry {~fruit} to the market",
    "swing": "swing up to the sky", "sled": "ride down the hill", "tent": "sleep under the stars",
    "kite": "fly it over {p}", "table": "eat {~meal} outside", "bridge": "cross the stream",
    "chair": "rest by the fire", "snowman": "make the children laugh", "sandcastle": "play kings and queens",
}


def _craft(slots, dice):
    slots["craft"] = dice.pick(list(CRAFTS))
    slots["why"] = CRAFTS[slots["craft"]]


BUILDING = Plot(
    "building", about="a~ {craft}", setup=_craft, modes=("careful", "hasty"),
    lesson=("Good work takes time.", "Many hands make work easy.", "Do it well or do it twice."),
    beats=(
        one(
            "{oneday}, {h} wanted to build a~ {craft}, so that {he} could {why}.",
            "\"I will make a~ {craft},\" said {h} one day. \"Then I can {why}!\"",
        ),
        one("{h} was careful with everything {he} did.", "{He} made a plan and drew it on paper.", when="careful"),
        one("{h} was always in a hurry.", "\"It will only take a minute,\" {he} said.", when="hasty"),
        one(
            "{He} gathered [everything {he} needed|all the parts] and put them in a heap.",
            "{He} asked {~neighbor} for help, but they were [busy|asleep|away].",
        ),
        one(
            "First {he} measured everything. Then {he} worked {~slowly} for {~few} days.",
            "{He} checked every piece {~few} times before {he} went on.", when="careful",
        ),
        one(
            "{He} put it together in no time and did not check anything.",
            "{He} skipped the hard parts and was done before noon.", when="hasty",
        ),
        one(
            "When the {craft} was ready, {f} the {fk} came to see it. It was strong and [pretty|fine|straight].",
            "At last the {craft} was done. \"{~Wow}!\" said {f} the {fk}. \"May I try it?\"", when="careful",
        ),
        one(
            "When {f} the {fk} came to see it, the {craft} fell apart. Crack! {h} sat in the [mud|grass|dust] and was {~sad}.",
            "\"Look at my {craft}!\" {hsaid} to {f} the {fk}. But then it broke into {~few} pieces.", when="hasty",
        ),
        one(
            "\"Let us do it again, but slowly this time,\" said {f}. So they worked together, and the new {craft} held.",
            "{f} did not laugh. {Fe} helped {hm} build a better {craft}, one step at a time.", when="hasty",
        ),
        one("Now {h} could {why}, and {f} could come along.", "{h} and {f} were {~glad}."),
    ),
)

GARDEN = Plot(
    "garden", about="a~ {plant}", modes=("patient", "impatient"),
    setup=lambda slots, dice: slots.update(plant=dice.pick([
        "rose", "tulip", "sunflower", "daisy", "pumpkin", "apple tree", "bean", "cherry tree", "melon", "poppy", "carrot", "lily",
    ])),
    lesson=("Good things take time.", "Patience makes the garden grow.", "A little care every day is enough."),
    beats=(
        one(
            "{oneday}, {h} got a seed from {f}, a~ {fk}. \"It will grow into a~ {plant},\" said {f}.",
            "{oneday}, {h} found a small seed {pat}. {f} the {fk} said, \"That is a~ {plant} seed.\"",
        ),
        one("{h} planted it in the garden and gave it water.", "{He} dug a hole, put the seed in, and covered it with dirt."),
        one("{He} watered it every {~time} and waited.", "\"I can wait,\" {hsaid}, and {he} sang to the seed.", when="patient"),
        one(
            "{He} looked every hour. \"Why is it so slow?\" {hsaid}.",
            "After one day {he} wanted to dig it up. \"It does not work!\" {he} said.", when="impatient",
        ),
        one("\"Leave it alone and give it time,\" said {f}.", "\"If you dig it up, it cannot grow,\" said {f}.", when="impatient"),
        one("The rain came, and the sun came, and {~few} weeks went by.", "{~Few} days passed. Then {~few} more passed."),
        one("Then a small green leaf came out of the ground.", "{oneday}, {h} saw something green. \"{~Wow}!\" {he} cried."),
        one(
            "By {~season}, there was a fine {plant} in the garden, as tall as {h}.",
            "It grew and grew, until it was the [biggest|most beautiful|finest] {plant} {pat}.",
        ),
        one("{h} showed it to {f}. \"It was worth the wait,\" {he} said.", "{f} came to see the {plant}, and they had {~drink} beside it."),
    ),
)


def _soup(slots, dice):
    vegetables = ["carrots", "potatoes", "onions", "beans", "peas", "mushrooms", "leeks", "turnips", "tomatoes", "beets"]
    for slot in ("v1", "v2", "v3"):
        slots[slot] = dice.pick([v for v in vegetables if v not in slots.values()])


SOUP = Plot(
    "soup", about="soup with {v1}", setup=_soup,
    lesson=("Together, everyone has enough.", "Each little bit helps."),
    beats=(
        one(
            "{oneday}, {h} wanted to make soup, but {he} had only {v1}.",
            "It was a cold {~season}, and {h} had nothing left but some {v1}. \"I will make soup,\" {he} said.",
        ),
        one("{He} put a big pot of water on the fire and threw in the {v1}.", "{He} washed the {v1} and put them into the pot."),
        one(
            "{f} the {fk} smelled it. \"May I have some soup? I can bring {v2},\" {fe} said.",
            "Then {f} the {fk} knocked. \"I have {v2},\" {fe} said, \"but no pot.\"",
        ),
        one("\"Come in!\" {hsaid}. In went the {v2}.", "{h} was {~glad}, and the {v2} went into the pot."),
        one(
            "Next came {t}, a~ {tk}, with a bag of {v3}. \"Is there room for one more?\" {te} asked.",
            "After that {t} the {tk} came from {p} with some {v3}.",
        ),
        one("They stirred and tasted and added a little salt.", "The soup bubbled and smelled better and better."),
        one(
            "With {v1}, {v2} and {v3}, it was the best soup of all.",
            "So {h}, {f} and {t} ate soup with {v1}, {v2} and {v3}.",
        ),
    ),
)

LEARNING = Plot(
    "learning", about="learning to {skill}",
    setup=lambda slots, dice: slots.update(skill=dice.pick([
        "swim", "whistle", "dance", "juggle", "skate", "sing", "draw", "knit", "read", "ski", "cook", "paint", "count", "write",
    ])),
    lesson=("Practice makes you better.", "Never give up.", "Everyone starts small."),
    beats=(
        one("More than anything, {h} wanted to learn to {skill}.", "{h} could not {skill}, and that made {hm} {~sad}."),
        one("{oneday}, {he} tried it {pat}, but [it went wrong|it did not work|everyone laughed].", "The first time {he} tried, {he} [fell down|got it all wrong|gave up]."),
        one("\"I will never learn to {skill},\" {hsaid}.", "\"It is too hard,\" {hsaid}, and {he} [sat down|went home|cried]."),
        one("{f} the {fk} [saw it|came to {hm}]. \"I can {skill}. I will teach you,\" {fe} said.", "\"When I was young, I could not {skill} either,\" said {f}, a wise {fk}. \"Practice a little every day.\""),
        one("So they met every {~time} {pat}. On {~weekday} it went badly. On {~weekday} it went a little better.", "So {h} practiced for {~few} weeks, in the morning and in the evening."),
        maybe(0.5, "Sometimes {he} was {~tired}, but {he} did not stop.", "\"Once more!\" {f} said each time."),
        one("And then {oneday}, it worked! {h} could {skill}!", "At last {h} could {skill} as well as {f}."),
        one("\"{~Wow}! Look at you!\" said {f}.", "{f} was proud of {hm}, and {h} was proud too."),
    ),
)

GIFT = Plot(
    "birthday gift", about="a~ {o}", modes=("bought", "made"),
    lesson=("The best gifts come from the heart.", "It is the thought that counts.", "Listen well, and you will know what a friend needs."),
    beats=(
        one("{f} the {fk} once told {h}, \"I wish I had a~ {ox}.\"", "{h} knew that {f} the {fk} had always wanted a~ {ox}."),
        one("Now it was almost the birthday of {f}.", "On {~weekday}, {f} would have a birthday party {qat}."),
        one("{h} went to {p} to buy a gift. There were so many things: a~ {ux}, a~ {~color} [ball|doll|drum|puzzle], and a bag of {~fruit}.", when="bought"),
        one("{h} had no money for a gift. {He} thought and thought.", when="made"),
        one("Then {he} remembered the words of {f}, and {he} bought a~ {ox} with {hs} last {~few} coins.", "\"{f} does not need a~ {u},\" {hsaid}. {He} chose the {ox}.", when="bought"),
        one("\"I will make a~ {o} myself,\" {hsaid}. {He} worked on it every night for {~few} days.", "So {he} took some {~wood} and {~tie} and made a~ {o} all alone.", when="made"),
        one("At the party, {t} the {tk} gave {f} a~ {~bake}. Then {f} opened the gift from {h}.", "{f} opened the gifts one by one. The last one was from {h}."),
        one("It was a~ {ox}! \"You remembered!\" cried {f}.", "\"A~ {o}! It is just what I wanted,\" said {f}."),
        one("{f} hugged {h} and [took the {o} everywhere|never let go of the {o}].", "Everyone sang a~ {~song} and had cake."),
    ),
)

MUSIC = Plot(
    "music", about="a~ {tool}",
    setup=lambda slots, dice: slots.update(tool=dice.pick(["flute", "drum", "fiddle", "horn", "harp", "guitar", "trumpet", "banjo", "accordion"])),
    lesson=("Music makes every heart lighter.", "A song can change a day."),
    beats=(
        one("{h} owned an old {tool} and played it every {~time}.", "{h} had a~ {tool}, and {he} took it everywhere."),
        one("\"[Stop that noise|Not so loud]!\" said {f}, a grumpy {fk}.", "But {f} the {fk}, who lived next door, did not like music."),
        one("So {h} put the {tool} away, and {p} became very quiet.", "So {h} went to {q} to play the {tool} alone."),
        one("Soon everyone was {~sad}. Nobody danced any more, and even {f} could not sleep.", "After {~few} days, {f} missed the sound. It was too quiet."),
        one("{oneday}, {f} came to {h}. \"Please play your {tool} again,\" {fe} said.", "\"I was wrong,\" said {f}. \"I miss your {tool}.\""),
        one("{h} was {~glad} and played a~ {~song} about {p}.", "{h} took the {tool} and played the {~song} that {he} loved best."),
        one("{f} clapped, and all the neighbors came out to dance.", "Everyone sang along, and {f} sang the loudest of all."),
    ),
)

PLOTS = (COUNTING, BUILDING, GARDEN, SOUP, LEARNING, GIFT, MUSIC)
