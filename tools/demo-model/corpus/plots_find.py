"""Plots about things found, lost, lent and given back."""

from .beats import Plot, one

# Tool: the trouble that will need it, and how it helps.
TOOLS = {
    "lantern": ("it grew so dark that nobody could see the path", "lit the lantern, and its light showed the way home"),
    "rope": ("{f} slipped and fell into a deep hole", "threw down the rope and pulled {fm} out"),
    "whistle": ("{f} got lost in the fog", "blew the whistle again and again until {f} heard it and came back"),
    "umbrella": ("heavy rain began to pour down on {f}", "opened the umbrella, and both of them stayed dry"),
    "blanket": ("the night turned cold and {f} began to shiver", "put the blanket around {fm}, and soon {fe} was warm"),
    "map": ("they took a wrong turn and did not know where they were", "unfolded the map and found the right road"),
    "ladder": ("{f} climbed a tall tree and could not get down", "set the ladder against the trunk, and {f} climbed down safely"),
    "bucket": ("a small fire started in {fs} kitchen", "filled the bucket with water and put out the fire"),
    "needle": ("{f} tore a hole in {fs} favorite coat", "took the needle and some thread and mended the coat"),
    "hammer": ("the wind broke the roof of {fs} house", "took the hammer and some nails and fixed the roof"),
    "key": ("{f} was locked inside the garden shed", "tried the key in the lock, and the door swung open"),
    "net": ("{fs} hat blew away and fell into the water", "scooped the hat out of the water with the net"),
    "shovel": ("deep snow blocked the door of {fs} house", "dug a path through the snow with the shovel"),
    "bell": ("a thick fog hid the shore, and {f} was out in {fs} boat", "rang the bell loudly, and {f} followed the sound to the shore"),
    "compass": ("clouds covered the sky and they lost their way", "looked at the compass and led {f} north to safety"),
    "magnet": ("{f} dropped {fs} keys down a crack in the floor", "tied the magnet to a string and pulled the keys up"),
    "basket": ("{fs} bag ripped, and all the {~fruit} rolled down the road", "gathered everything into the basket for {fm}"),
    "broom": ("{f} spilled flour all over the floor", "swept up the flour with the broom before anyone slipped"),
    "mirror": ("{f} was stuck on a hill and could not see any help", "used the mirror to flash the light of the sun, and help came"),
    "plank": ("the little bridge broke and {f} could not cross the stream", "laid the plank over the stream, and {f} walked across"),
    "cork": ("{fs} boat had a hole, and water came in", "pushed the cork into the hole, and the boat stayed afloat"),
    "drum": ("a hungry wolf came close to {fs} sheep", "beat the drum so loudly that the wolf ran away"),
    "scarf": ("{f} hurt {fs} leg on a sharp rock", "tied the scarf around the leg, and {f} could walk again"),
    "spoon": ("{f} had a big pot of soup but nothing to stir it with", "stirred the soup with the spoon, and it came out just right"),
}


def _tool(slots, dice):
    slots["o"] = dice.pick(list(TOOLS))
    slots["ox"] = dice.pick(["old", "rusty", "small", "strong", "dusty", "fine"]) + " " + slots["o"]
    slots["trouble"], slots["help"] = TOOLS[slots["o"]]


FOUND_AND_USED = Plot(
    "found and used", about="a~ {o}", setup=_tool,
    lesson=("Small things can be a great help.", "It is wise to be ready.", "Keep what may help a friend."),
    beats=(
        one(
            "{oneday}, {h} found a~ {ox} {pat}.",
            "{oneday}, while {h} was walking {~near} {p}, {he} saw a~ {ox} on the ground.",
            "{oneday}, {hs} grandmother gave {hm} a~ {ox}. \"[Keep it|Take good care of it],\" she said.",
            "{oneday}, {h} opened a~ {~look} box and found a~ {ox} inside.",
        ),
        one(
            "\"{~Wow}! This [may be useful|could help someone] [one day|some day],\" {hsaid}.",
            "{he} [picked it up|cleaned it] and [put it in {hs} bag|took it home|kept it safe].",
            "\"Why do you carry that {o}?\" [laughed|asked] {hs} friend {f}. \"You [never know|will see],\" {hsaid}.",
            "{f} the {fk} did not think much of it, but {h} [liked it|kept it anyway].",
        ),
        one(
            "{~Few} days later, {h} and {f} the {fk} [went|walked] to {q}. Suddenly, {trouble}.",
            "The next day, {h} and {hs} friend {f}, a~ {fk}, were {qat} when {trouble}.",
            "Soon after, {h} went to visit {f} the {fk} {qat}. That day, {trouble}.",
        ),
        one(
            "\"[Help|Please help]!\" cried {f}.",
            "\"{~Oh}! What [can|shall] we do now?\" [asked|cried] {f}.",
            "{f} was very {~scared}.",
            "Nobody knew what to do.",
        ),
        one(
            "Then {h} remembered the {o}. {He} {help}.",
            "\"[Wait|I know]! I have my {o}!\" said {h}. {He} {~fast} {help}.",
            "But {h} still had the {ox}. {He} {help}.",
        ),
        one(
            "\"{~Thanks}, {h}!\" said {f}. \"I am {~glad} that you kept that {o}.\"",
            "{f} hugged {h}. \"I will never laugh at your {o} again,\" {fe} said.",
            "\"You and your {o} saved the day!\" said {f}.",
        ),
    ),
)

LOST_THING = Plot(
    "lost thing", about="a~ {o}", modes=("left", "taken"),
    lesson=("Put your things away with care.", "A good friend helps you look.", "Never give up too soon."),
    beats=(
        one(
            "{h} had a~ {ox} that {he} loved very much.",
            "The thing {h} loved most was a~ {ox}.",
            "For {hs} birthday, {h} got a~ {ox} from {hs} [aunt|uncle|mother|father].",
        ),
        one(
            "{oneday}, {h} played {pat} and [left the {o} there|forgot the {o} there].", when="left",
        ),
        one(
            "{oneday}, {h} put the {o} down {pat}, and a~ {tk} named {t} carried it off.", when="taken",
        ),
        one(
            "At [bedtime|supper|noon], the {o} was gone. \"{~Oh}! Where is my {o}?\" cried {h}.",
            "Later {h} wanted the {o}, but it was not in {hs} bag. {He} was very {~sad}.",
            "When {h} came home, {he} could not find the {o}. {He} began to cry.",
        ),
        one(
            "{f} the {fk} heard {hm}. \"{~Ok}, I will help you look,\" said {f}.",
            "\"Let us look for it together,\" said {hs} friend {f}, a~ {fk}.",
        ),
        one(
            "They {~looked} {~behind}, but it was not there. They {~looked} {~behind}, but they found only a~ {u}.",
            "First they {~looked} {~behind}. Then they {~looked} {~behind}. There was no {o}.",
            "They {~looked} {~behind}. They asked {~neighbor}. Nobody had seen the {o}.",
        ),
        one(
            "\"Where did you play [today|last]?\" asked {f}. \"I was {pat},\" {hsaid}. So they {~ran} to {p}, and there was the {ox}!",
            "Then {h} remembered {p}. They {~ran} there, and the {o} was [right where {he} had left it|waiting in the grass].",
            when="left",
        ),
        one(
            "At last they saw small [tracks|footprints] {pat}. They followed them to the house of {t} the {tk}. There was the {ox}!",
            "Then they met {t} the {tk}, who was holding the {ox}. \"I did not know that it was yours,\" said {t}. \"I am sorry.\"",
            when="taken",
        ),
        one(
            "{t} gave the {o} back, and {h} [forgave {tm}|let {tm} play with it for a while].", when="taken",
        ),
        one(
            "{h} hugged the {o}. \"{~Thanks}, {f}!\" {he} said.",
            "\"Now I will always take care of my {o},\" said {h}.",
            "{h} was so {~glad} that {he} danced with {f}.",
        ),
    ),
)

RETURN_TO_OWNER = Plot(
    "return to owner", about="a~ {o}", modes=("honest", "tempted"),
    lesson=("It is good to be honest.", "Honest friends are the best friends.", "What is not yours must go back."),
    beats=(
        one(
            "{oneday}, {h} found a~ {ox} {pat}.",
            "{oneday}, something {~look} lay on the road to {p}. It was a~ {ox}!",
        ),
        one(
            "\"Someone must [miss it|be looking for it],\" {hsaid}. {H} was honest and wanted to find the owner.",
            "{He} knew right away that it [belonged to someone|was not {hs} to keep].", when="honest",
        ),
        one(
            "\"Now it is mine!\" {hsaid}, and {he} hid the {o} {hid=~behind}.",
            "{He} wanted to keep the {o}, so {he} hid it {hid=~behind}.", when="tempted",
        ),
        one(
            "{He} asked {~neighbor}, but nobody knew whose {o} it was. Then {he} met a~ {fk} named {f}, who was crying.",
            "{He} walked to {q} and asked everyone. There {he} met a {~sad} {fk} named {f}.", when="honest",
        ),
        one(
            "The next {~time}, {he} met a~ {fk} named {f}, who was crying {qat}.",
            "But then {he} saw {f}, a~ {fk}, looking everywhere with {~sad} eyes.", when="tempted",
        ),
        one(
            "\"I lost my {o},\" said {f}. \"My {~kin} gave it to me.\"",
            "\"Have you seen a~ {ox}?\" asked {f}. \"I lost it {pat}.\"",
        ),
        one(
            "\"Here it is!\" {hsaid}, and {he} gave the {o} to {f}.",
            "{h} smiled and held out the {ox}. \"Is this yours?\" {he} asked.", when="honest",
        ),
        one(
            "{h} felt bad. {He} {~ran} home, took the {o} from its place {hid}, and gave it back. \"I am sorry that I kept it,\" {he} said.",
            "{h} could not sleep that night. In the morning {he} took the {o} from {hid} and brought it to {f}. \"I found it, but I hid it. I am sorry,\" {he} said.",
            when="tempted",
        ),
        one(
            "\"{~Thanks}!\" said {f}. {Fe} gave {h} a~ {~bake} [to say thanks|and a hug].",
            "{f} was so {~glad} that {fe} invited {h} to [eat {~meal}|drink {~drink}|play].",
            "\"You are honest, {h},\" said {f}, and they became friends.",
        ),
    ),
)

TRADE_CHAIN = Plot(
    "trade chain", about="a~ {o}",
    lesson=("A fair trade makes two friends happy.", "What you need is worth more than what shines.", "Sometimes a small thing is enough."),
    beats=(
        one(
            "{h} had a~ {ox}, but what {he} really wanted was {want=~bakea}.",
            "All {h} owned was a~ {ox}. {Oneday}, {he} wished for {want=~bakea}.",
        ),
        one(
            "On the way to {p}, {he} met {f} the {fk}. \"I need a~ {o},\" said {f}. \"Will you trade it for my {ux}?\"",
            "{Pat}, a~ {fk} named {f} saw the {o}. \"I will give you my {ux} for it,\" {fe} said.",
        ),
        one(
            "\"{~Ok},\" {hsaid}. So {h} gave away the {o} and took the {u}.",
            "{h} [nodded|thought about it and said yes]. Now {he} had a~ {u}.",
        ),
        one(
            "Then {he} met {t}, a~ {tk}, who was {~sad}. \"I lost my {u},\" said {t}. \"All I have is {want}.\"",
            "Next {he} came to {q}, where {t} the {tk} was resting with {want}. \"If only I had a~ {u},\" {te} said.",
        ),
        one(
            "\"Take my {ux}!\" {hsaid}. {T} was {~glad} and gave {hm} {want}.",
            "{h} held out the {u}, and {t} gave {hm} {want} for it.",
        ),
        one(
            "{h} laughed. First a~ {o}, then a~ {u}, and now {want}!",
            "So {h} got {want} after all, and {he} shared it with {f}.",
        ),
    ),
)

PLOTS = (FOUND_AND_USED, LOST_THING, RETURN_TO_OWNER, TRADE_CHAIN)
