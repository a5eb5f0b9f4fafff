"""Plots about promises, truth, fear, sharing and friendship."""

from .beats import Plot, one

PROMISE = Plot(
    "promise", about="a promise", modes=("kept", "broken"),
    setup=lambda slots, dice: slots.update(want=dice.pick([
        "honey", "bread", "medicine", "warm milk", "firewood", "fresh water", "lemons", "soup",
    ])),
    lesson=("A promise is a promise.", "Keep your word.", "Friends trust those who keep a promise."),
    beats=(
        one(
            "{oneday}, {f} the {fk} was sick in bed. \"Please bring me some {want} from {q},\" {fe} [said|asked].",
            "{oneday}, {f} hurt {fs} [foot|leg]. \"Could you bring me some {want} from {q}?\" asked {f}.",
        ),
        one(
            "\"I promise to be back before [dark|sunset|supper],\" {hsaid}.",
            "\"{~Ok}. I promise,\" {hsaid}, and {he} {~ran} off.",
        ),
        one(
            "On the way, {he} met {t} the {tk}. \"Come and [play|dance|swim|fish] with me!\" said {t}.",
            "Near {p}, a~ {tk} named {t} was having a party. \"Stay and [dance|eat|sing]!\" {te} said.",
        ),
        one(
            "\"I would love to, but I made a promise,\" {hsaid}, and {he} went on to {q}.",
            "{h} wanted to stay, but {he} thought of {f}. \"Not today,\" {he} said.", when="kept",
        ),
        one(
            "\"Just for a little while,\" {hsaid}. But {he} stayed and stayed, until it was dark.",
            "{h} forgot {hs} promise and played with {t} for hours.", when="broken",
        ),
        one(
            "{He} got the {want} and {~ran} back to {f} before the sun went down.",
            "Soon {he} was back with the {want}, just as {he} had said.", when="kept",
        ),
        one(
            "At last {he} remembered. {He} {~ran} to {f} with the {want}, but it was very late, and {f} was crying. \"I waited for you,\" said {f}.",
            "When {he} came with the {want}, {f} would not look at {hm}. \"You promised,\" said {f}.", when="broken",
        ),
        one(
            "\"You kept your promise!\" said {f}. [Soon|The next day] {fe} felt much better.",
            "\"I knew that I could trust you,\" said {f}, and {fe} smiled.", when="kept",
        ),
        one(
            "{h} felt {~sad}. \"I am sorry. It will not happen again,\" {he} said. {He} stayed with {f} all night and made {fm} {~drink}.",
            "\"I am so sorry,\" said {h}. {He} came every day to help until {f} was well, and {f} forgave {hm}.", when="broken",
        ),
    ),
)

SHARING = Plot(
    "sharing", about="a~ {food}", modes=("kind", "greedy"),
    setup=lambda slots, dice: slots.update(food=dice.pick([
        "apple pie", "honey cake", "plum tart", "cherry pie", "lemon cake",
        "pumpkin pie", "carrot cake", "loaf of bread", "giant pancake", "big cheese",
    ])),
    lesson=("Sharing makes everything taste better.", "There is always enough for a friend.", "A shared meal is a happy meal."),
    beats=(
        one(
            "{h} was [always ready to share|kind to everyone|known for {hs} kind heart].", when="kind",
        ),
        one("{h} was [rather greedy|a little greedy] and did not like to share.", when="greedy"),
        one(
            "{oneday}, {h} baked a~ {food}. The whole house smelled of {~smell}.",
            "{oneday}, {hs} {~kin} gave {hm} a~ {food}. It was still warm.",
        ),
        one(
            "Just then there was a knock at the door. It was {f}, a~ {fk}. \"I have not eaten all day,\" said {f}.",
            "{f} the {fk} came by. \"Is that a~ {food}? I am so hungry,\" {fe} said.",
        ),
        one(
            "\"Come in and eat with me!\" {hsaid}. {He} cut the {food} in two and gave {f} the bigger half.",
            "{h} did not think twice. {He} gave {f} half of the {food}.", when="kind",
        ),
        one(
            "\"It is mine, all mine!\" {hsaid}, and {he} shut the door. {He} ate the whole {food} alone.",
            "{h} hid the {food} behind {hs} back. \"There is none for you,\" {he} said, and {he} ate it all.", when="greedy",
        ),
        one(
            "The next {~season}, {h} had nothing to eat. But {f} remembered and brought {hm} {~meal}.",
            "Later, when {h} was hungry {qat}, {f} came with a basket of {~fruit}. \"You shared with me,\" said {f}.", when="kind",
        ),
        one(
            "Soon {hs} stomach hurt. {f} heard {hm} groan and brought {hm} {~drink}. \"You are kind to me, and I was not kind to you,\" said {h}.",
            "But eating alone was no fun at all, and {he} felt {~sad}. {He} looked for {f} and said, \"I am sorry.\"", when="greedy",
        ),
        one(
            "The next day, {h} baked another {food}, and this time {he} shared it with {f}.",
            "After that, {h} always kept a piece for {f}.", when="greedy",
        ),
        one(
            "\"Friends look after each other,\" said {h}.",
            "They ate and laughed until the {~light} came out.", when="kind",
        ),
    ),
)

FEARS = {
    "the dark": ("the lamp went out and it was dark everywhere", "walked through the dark, step by step"),
    "deep water": ("the boat of {f} turned over in the lake", "jumped into the deep water and swam to {fm}"),
    "high places": ("{f} was stuck at the top of a tall tree", "climbed higher than ever before and took {fs} hand"),
    "thunder": ("a storm came while {f} was alone {qat}", "ran out into the thunder to find {fm}"),
    "dogs": ("a big dog stood between them and the road home", "walked up to the dog and said hello, and the dog wagged its tail"),
    "strangers": ("a stranger was hurt {qat} and nobody else was near", "took a deep breath and asked the stranger how to help"),
    "spiders": ("a spider was caught in a bowl and {f} wanted help", "took the bowl outside and let the spider go"),
    "loud noises": ("the bells rang and little {f} was lost in the noisy crowd", "went straight into the noise and found {fm}"),
}


def _fear(slots, dice):
    slots["fear"] = dice.pick(list(FEARS))
    slots["trouble"], slots["deed"] = FEARS[slots["fear"]]


AFRAID = Plot(
    "afraid", about="{fear}", setup=_fear,
    lesson=("Being brave means going on while you are afraid.", "Love is stronger than fear.", "Even the small can be brave."),
    beats=(
        one(
            "There was one thing that {he} could not stand. {h} was afraid of {fear}.",
            "{h} was [always|very] afraid of {fear}.",
        ),
        one(
            "The others laughed at {hm}, and {he} felt {~sad}.",
            "\"Do not be afraid,\" {hs} {~kin} said, but it did not help.",
            "{He} [tried to hide it|told nobody], but {hs} friend {f} knew.",
        ),
        one("{oneday}, {trouble}.", "{oneday}, something happened. {Trouble}."),
        one(
            "{h} began to shake. {He} wanted to run away.",
            "\"I cannot do it,\" whispered {h}. {Hs} knees were weak.",
        ),
        one(
            "But then {he} thought of {f}. {He} closed {hs} eyes, counted to {~few}, and {deed}.",
            "But there was no time to be {~scared}. {h} {deed}.",
        ),
        one(
            "\"You did it!\" [cried|said] {f}. \"You are not afraid of {fear} any more.\"",
            "\"You were so brave, {h}!\" said {f}.",
        ),
        one(
            "\"I was still {~scared},\" {hsaid}, \"but I did it anyway.\"",
            "{h} smiled. {Fear} did not seem so bad now.",
        ),
    ),
)

TRUTH = Plot(
    "truth", about="a~ {u}", modes=("told", "lied"),
    lesson=("It is best to tell the truth.", "The truth is always lighter than a lie.", "Telling the truth takes courage."),
    beats=(
        one(
            "{oneday}, {h} was playing with a ball in the house of {f} the {fk}. Crash! The {ux} fell down and broke.",
            "{oneday}, {h} [borrowed|took] a~ {ux} that belonged to {f} the {fk}. On the way to {p}, {he} dropped it, and it broke.",
        ),
        one(
            "{He} was very {~scared}. What would {f} say?",
            "\"{~Oh},\" {hsaid}. {Hs} face turned red.",
        ),
        one(
            "Soon {f} came in. \"What happened to my {u}?\" {fe} asked.",
            "When {f} saw the {u}, {fe} was {~sad}. \"Who did this?\" {fe} asked.",
        ),
        one("\"It was me,\" {hsaid}. \"I am very sorry.\"", when="told"),
        one(
            "\"It was not me,\" {hsaid}. \"It was {t}, the {tk}.\"",
            "\"I saw {t} the {tk} do it,\" {hsaid}, but that was a lie.", when="lied",
        ),
        one(
            "{f} was quiet for a while. Then {fe} smiled. \"Thank you for telling the truth,\" {fe} said.",
            "\"I am sad about my {u},\" said {f}, \"but I am {~glad} that you told me the truth.\"", when="told",
        ),
        one(
            "{f} was angry with {t}, and {t} began to cry. When {h} saw that, {he} could not bear it. \"I lied. I broke it,\" {he} said.",
            "All night {h} thought of poor {t}. In the morning {he} went to {f} and said, \"I lied. {T} did nothing. I broke your {u}.\"",
            when="lied",
        ),
        one(
            "Together they fixed the {u} with [glue|string|a little paint].",
            "{h} worked for {~few} days and bought {f} a new {u}.",
        ),
        one("{h} also told {t} that {he} was sorry, and {t} forgave {hm}.", when="lied"),
    ),
)

LONELY = Plot(
    "lonely", about="a~ {o}",
    lesson=("A friend may be closer than you think.", "Say hello first.", "Nobody has to be alone."),
    beats=(
        one(
            "{h} had just moved to {p} and had no friends yet.",
            "{h} was lonely, because there was nobody to play with {pat}.",
        ),
        one(
            "{oneday}, {he} sat {pat} with {hs} {ox} and sighed.",
            "Every {~time} {he} played alone with {hs} {ox}.",
        ),
        one(
            "A~ {fk} came by. \"[What a~ {~look} {o}|I like your {o}]!\" the {fk} said. \"My name is {f}.\"",
            "\"May I [see|hold] your {o}?\" asked a soft voice. It was a~ {fk} named {f}.",
        ),
        one(
            "\"I am {h},\" {he} said {~softly}. \"Do you want to play?\"",
            "{h} was shy, but {he} smiled. \"I am {h}. You can play with it if you like.\"",
        ),
        one(
            "They played with the {o} until [evening|noon|supper]. Then {f} showed {hm} {q}.",
            "First they played with the {o}. Then they {~walked} to {q} and picked {~fruit}.",
        ),
        one(
            "\"Will you come back tomorrow?\" asked {h}. \"{~Ok}!\" said {f}.",
            "\"Let us meet here again on {~weekday},\" said {f}.",
        ),
        one(
            "{h} was not lonely any more.",
            "{h} gave {f} the {o} to keep until then, for now they were friends.",
        ),
    ),
)

REPAID = Plot(
    "kindness repaid", about="a~ {trap}",
    setup=lambda slots, dice: slots.update(trap=dice.pick([
        "net", "thorn bush", "muddy hole", "fence", "hollow log", "fishing line", "pile of rocks", "vine",
    ])),
    lesson=("Kindness always comes back.", "No good deed is too small.", "Help today, and you will be helped tomorrow."),
    beats=(
        one(
            "{oneday}, {h} heard a cry {pat}. A~ {fk} named {f} was caught in a~ {trap}.",
            "{oneday}, {h} saw {f}, a~ {fk}, who was stuck in a~ {trap} {pat}.",
        ),
        one("\"[Please help me|Help|Get me out, please]!\" said {f}.", "\"I have been here since {~weekday},\" said {f} in a weak voice."),
        one(
            "{h} {~slowly} freed {fm} from the {trap}. It took a long time.",
            "\"Hold still,\" {hsaid}. {He} pulled and pulled, until {f} was free of the {trap}.",
        ),
        one(
            "\"{~Thanks}!\" said {f}. \"One day I will help you too.\"",
            "\"I will never forget you,\" said {f}, and {fe} {~ran} away.",
        ),
        one("{h} laughed. How could a~ {fk} ever help {hm}?", "{h} did not think about it again."),
        one(
            "{~Few} weeks later, {h} was lost {qat}. It was getting dark, and {he} was {~scared}.",
            "In the {~season}, {h} fell into a stream {~near} {q} and could not get out.",
            "Then came a day when {h} was hungry and had no food left {qat}.",
        ),
        one(
            "Who should come along but {f}! \"You once pulled me out of a~ {trap}. Now it is my turn,\" {fe} said.",
            "Suddenly {he} heard a voice that {he} knew. It was {f} the {fk}! \"I remember you and the {trap},\" said {f}.",
        ),
        one("{f} helped {hm} and brought {hm} home safely.", "With the help of {f}, all was well again."),
    ),
)

QUARREL = Plot(
    "quarrel", about="a~ {o}",
    lesson=("It is better to share than to fight.", "A kind word ends a quarrel.", "Friends can always make peace."),
    beats=(
        one(
            "{oneday}, {h} and {f} the {fk} found a~ {ox} {pat} at the same time.",
            "{oneday}, {h} and {hs} friend {f}, a~ {fk}, both wanted the same {ox}.",
        ),
        one("\"It is mine!\" said {h}. \"No, I saw it first!\" said {f}.", "\"Give it to me!\" cried {f}. \"Never!\" cried {h}."),
        one("They pulled and pulled, until the {o} flew into the air and landed in [the mud|a tree|the water].", "They shouted so loudly that the birds flew away."),
        one(
            "An old {tk} named {t} had seen it all. \"Is a~ {o} worth more than a friend?\" {te} asked.",
            "{t} the {tk} shook {ts} head. \"Yesterday you were friends,\" {te} said.",
        ),
        one("{h} looked at {f}, and {f} looked at {h}. They both felt {~sad}.", "The two were quiet for a long time."),
        one(
            "\"You can have it on {~weekday}, and I will have it the day after,\" {hsaid}.",
            "\"Let us share it,\" said {h}. \"One day it is yours, and one day it is mine.\"",
            "\"We could give it to {t},\" said {f}.",
        ),
        one("And so they made peace, and nobody fought about the {o} again.", "\"That is a good idea,\" said {t}, and all three laughed."),
    ),
)

PLOTS = (PROMISE, SHARING, AFRAID, TRUTH, LONELY, REPAID, QUARREL)
