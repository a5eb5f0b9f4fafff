"""Plots about journeys, contests, storms and puzzles."""

from .beats import Plot, one

RACE = Plot(
    "race", about="a~ {prize}", modes=("steady", "boastful"),
    setup=lambda slots, dice: slots.update(prize=dice.pick([
        "golden cup", "silver medal", "big pumpkin pie", "red ribbon", "blue kite", "basket of plums", "crown of flowers", "pair of boots",
    ])),
    lesson=("Slow and steady wins the race.", "Do not boast before you are done.", "A race is more fun with a friend."),
    beats=(
        one("On {~weekday} there was a race from {p} to {q}. The winner would get a~ {prize}.", "{oneday}, there was a big race to {q}. The prize was a~ {prize}."),
        one("{h} was not very fast, but {he} never stopped.", "{h} had practiced for {~few} weeks.", when="steady"),
        one("{h} was fast, and {he} [knew it|told everyone]. \"I will win for sure,\" {hsaid}.", "\"Nobody is as fast as I am!\" {hsaid}.", when="boastful"),
        one("{f} the {fk} wanted to win too. \"You are too slow for me,\" {fe} laughed.", "{f} the {fk} was the fastest of all and liked to say so.", when="steady"),
        one("{f} the {fk} said nothing. {Fe} only tied {fs} shoes.", "\"We will see,\" said {f}, a quiet {fk}.", when="boastful"),
        one("\"One, two, three, go!\" called {t} the {tk}, and off they {~ran}.", "{t} the {tk} rang the bell, and the race began."),
        one("{f} was far ahead. {Fe} sat down to eat some {~fruit} and fell asleep.", "Halfway there, {f} stopped to [rest|look in a mirror|talk to the crowd].", when="steady"),
        one("{h} was far ahead. \"I have time for a nap,\" {hsaid}, and {he} lay down under a tree.", "Halfway there, {h} stopped to show off to the crowd.", when="boastful"),
        one("{h} went on, step by step. {He} passed {f} and came to {q} first.", "{h} did not stop, and {he} won the race.", when="steady"),
        one("{f} went on, step by step. When {h} looked up, {f} had already won.", "{f} passed {hm} quietly and came to {q} first.", when="boastful"),
        one("{t} gave {hm} the {prize}. \"Well done,\" said {f}. \"I should not have laughed.\"", "{h} won the {prize} and shared the joy with {f}.", when="steady"),
        one("{t} gave {f} the {prize}. \"You ran well,\" said {h}. \"I will not boast again.\"", "So {f} got the {prize}, and {h} learned something that day.", when="boastful"),
    ),
)


def _shelter(slots, dice):
    slots["cover"] = dice.pick(["big mushroom", "old tent", "hollow tree", "small barn", "little cave", "wide umbrella", "tiny cabin", "upside-down boat", "big leaf"])


SHELTER = Plot(
    "shelter", about="a~ {cover}", setup=_shelter,
    lesson=("There is always room for one more.", "Where there is love, there is room."),
    beats=(
        one("{oneday}, a storm came up {pat}. {h} {~ran} to a~ {cover} to stay dry.", "{oneday}, it began to rain hard. {h} found a~ {cover} {pat} and went under it."),
        one("There was just enough room for one.", "It was small, but it was dry."),
        one("Then {f} the {fk} came, all wet. \"May I come in?\" {fe} asked.", "Soon {f}, a wet {fk}, stood there. \"Is there room for me?\""),
        one("\"It is small, but come in,\" {hsaid}. Now they were two.", "{h} moved over. \"{~Ok},\" {he} said. Now there were two of them."),
        one("After that {t} the {tk} came running. \"I am so cold!\" {te} said. \"Come in!\" said {h} and {f}. Now they were three.", "Next came {t}, a cold {tk}. They all squeezed together, and now they were three."),
        one("Last came a little bee, and then they were four.", "The thunder was loud, but together nobody was {~scared}.", "They told stories until the rain stopped."),
        one("At last the sun came out. \"How did we all fit under a~ {cover}?\" asked {f}.", "When the storm was over, a rainbow stood over {q}."),
        one("\"When friends share, a small place grows,\" said {h}.", "\"It was big enough because we wanted it to be,\" said {t}."),
    ),
)


def _trail(slots, dice):
    slots["marks"] = dice.pick(["white stones", "shells", "red threads", "feathers", "yellow leaves", "chalk marks", "blue beads", "flower petals", "pine cones"])


WAY_HOME = Plot(
    "way home", about="{marks}", setup=_trail,
    lesson=("Think before you go.", "It is good to know the way back."),
    beats=(
        one("{oneday}, {h} and {f} the {fk} went far past {q}.", "{oneday}, {h} wanted to see {q}, and {f} the {fk} came along."),
        one("{h} dropped {marks} along the way. \"Why do you do that?\" asked {f}.", "Every few steps, {h} left some {marks} on the ground. {f} thought it was silly."),
        one("They saw a~ {ux}, {~few} {~birds}, and a tree that looked like {~shape}.", "They played all day, picked {~fruit}, and forgot the time."),
        one("Then it was dark. \"{~Oh}! We are lost!\" cried {f}.", "When they wanted to go home, all the paths looked the same. {f} began to cry."),
        one("\"Look for the {marks},\" {hsaid}.", "\"Do not worry,\" said {h}. \"Remember the {marks}?\""),
        one("They followed the {marks}, one after another, in the light of the {~light}.", "{f} found the first of the {marks}, and {h} found the next."),
        one("At last they saw the windows of {hs} {hhome} {~near} {p}.", "The {marks} led them all the way back to {p}."),
        one("\"You are clever, {h},\" said {f}. \"Next time I will bring {marks} too.\"", "{f} hugged {h}. \"It was not silly at all,\" {fe} said."),
    ),
)

LETTER = Plot(
    "letter", about="a~ {cargo}",
    setup=lambda slots, dice: slots.update(cargo=dice.pick(["letter", "package", "basket", "bottle of medicine", "birthday card", "invitation", "jar of honey", "secret note"])),
    lesson=("Finish what you begin.", "Help others on your way, and they will help you."),
    beats=(
        one("{oneday}, {t} the {tk} gave {h} a~ {cargo}. \"Please take it to {f} {qat},\" {te} said.", "{oneday}, {h} had to bring a~ {cargo} to {f}, a~ {fk} who lived {qat}."),
        one("{h} put the {cargo} in {hs} bag and {~walked} off.", "\"I will bring it there today,\" {hsaid}, and {he} {~ran} down the road."),
        one("The road was long. {He} passed {p} and crossed a~ {~look} bridge.", "First {he} went past {p}. Then {he} climbed over a~ {~look} gate."),
        one("Then the wind blew the {cargo} [into a tree|into a ditch|over a wall]. {h} had to climb after it.", "Then a river blocked the way, and {h} held the {cargo} high above {hs} head.", "Then it began to rain, and {h} hid the {cargo} under {hs} coat."),
        one("{He} was {~tired}, but {he} did not stop.", "\"Only a little farther,\" {he} told {hself}."),
        one("At last {he} came to {q} and knocked. {f} opened the door.", "In the {~time} {he} reached {q}, where {f} was waiting."),
        one("\"A~ {cargo} for me?\" said {f}. \"From {t}? How wonderful!\"", "{f} took the {cargo} and smiled. \"I have waited so long for this,\" {fe} said."),
        one("{Fe} gave {h} {~meal} and a warm bed for the night.", "{Fe} thanked {hm} and gave {hm} {~few} coins."),
    ),
)


def _thief(slots, dice):
    slots["pie"] = dice.pick(["apple pie", "cherry pie", "honey cake", "plum tart", "lemon cake", "jar of jam", "bowl of berries"])
    slots["clue"] = dice.pick(["gray hair", "red feather", "blue thread", "white button", "muddy footprint", "yellow ribbon", "brown crumb", "purple sock", "green mitten"])


PIE_PUZZLE = Plot(
    "pie puzzle", about="a~ {pie}", setup=_thief,
    lesson=("Ask before you take.", "Look closely, and you will find the answer."),
    beats=(
        one("{oneday}, {h} put a~ {pie} on the windowsill. When {he} came back, it was gone!", "{oneday}, the {pie} that {h} had made was missing."),
        one("\"Who took my {pie}?\" cried {h}.", "\"{~Oh}! Somebody took my {pie}!\" {hsaid}."),
        one("On the floor, {he} saw a~ {clue}.", "{He} looked closely and found a~ {clue} by the window."),
        one("{He} went to {f} the {fk}. But {f} had been {qat} all day.", "\"Was it you?\" {he} asked {f} the {fk}. \"No,\" said {f}. \"I was {qat}.\""),
        one("Then {he} met {t} the {tk}. {T} had crumbs on {ts} face.", "{f} pointed at {t}, a~ {tk} with a full belly."),
        one("\"Is this {clue} yours?\" asked {h}. {t} looked at the ground.", "{h} held up the {clue}. \"I found this by my window,\" {he} said to {t}."),
        one("\"Yes, it is mine. I was so hungry,\" said {t}. \"I am sorry.\"", "\"I did it,\" said {t}. \"The {pie} smelled so good.\""),
        one("\"Next time, just ask,\" said {h}, and they baked a new one together.", "{h} was not angry for long. The three of them made another {pie}, and this time they all had some."),
    ),
)

SLEEPLESS = Plot(
    "sleepless", about="a~ {toy}",
    setup=lambda slots, dice: slots.update(toy=dice.pick(["blanket", "teddy bear", "pillow", "doll", "lamp", "music box", "toy rabbit", "night light"])),
    lesson=("A friend nearby is the best lullaby.",),
    beats=(
        one("One night, {h} could not sleep.", "It was late, but {h} was wide awake."),
        one("{He} turned to the left. {He} turned to the right. Something was missing.", "{He} counted {~sheep}, but it did not help."),
        one("{He} drank some {~drink}. {He} was still awake.", "{He} sang a~ {~song}, but {he} was still awake."),
        one("{He} opened the window. The {~light} shone on {p}, and an owl called.", "Outside, everything was still. Only the {~light} looked in."),
        one("Then {f} the {fk} came in. \"Are you awake too?\" {fe} asked.", "There was a soft knock. It was {f} the {fk}, who could not sleep either."),
        one("\"I miss my {toy},\" {hsaid}.", "\"I cannot find my {toy},\" {hsaid}, \"and without it I cannot sleep.\""),
        one("{f} looked {~behind}, and there was the {toy}.", "\"You left your {toy} {pat},\" said {f}. \"I brought it for you.\""),
        one("{h} held the {toy} close. Before {f} could say good night, {he} was asleep.", "With the {toy} in {hs} arms, {h} closed {hs} eyes and fell asleep at once."),
    ),
)

WARNING = Plot(
    "warning", about="a~ {danger}", modes=("listened", "ignored"),
    setup=lambda slots, dice: slots.update(danger=dice.pick(["thin ice", "deep mud", "wild river", "old bridge", "dark cave", "beehive", "steep cliff", "sleeping bear"])),
    lesson=("Listen to those who care about you.", "A warning is a gift.", "It is better to be safe than sorry."),
    beats=(
        one("\"Stay away from the {danger} {~near} {q},\" {hs} {~kin} told {hm}.", "Everyone knew about the {danger} {~near} {q}. \"Never go there alone,\" said {hs} {~kin}."),
        one("{oneday}, {f} the {fk} said, \"Let us go and see the {danger}!\"", "{oneday}, {f} the {fk} laughed. \"I am not afraid of the {danger},\" {fe} said."),
        one("\"No,\" said {h}. \"It is not safe.\" {He} stayed where {he} was.", "{h} shook {hs} head. \"My {~kin} told me not to go,\" {he} said.", when="listened"),
        one("{h} knew that it was wrong, but {he} went along.", "\"Only one look,\" {hsaid}, and {he} followed {f}.", when="ignored"),
        one("{f} went alone. Soon there was a loud cry. {h} {~ran} to get help.", "{f} {~ran} off. After a while {h} heard {fm} shout, and {he} called {t} the {tk}.", when="listened"),
        one("When they came too close to the {danger}, {h} slipped. \"Help!\" {he} cried.", "They were at the {danger} before they knew it, and then they could not get back.", when="ignored"),
        one("Together {h} and {t} brought {f} back to {p}.", "{t} the {tk} had a long rope, and they pulled {f} to safety.", when="listened"),
        one("Luckily, {t} the {tk} heard them. {Te} came with a rope and pulled them to safety.", "{f} called for help until {t}, a strong {tk}, came and brought them home.", when="ignored"),
        one("\"You were right,\" said {f}, who was still shaking.", "\"I should have listened to you,\" said {f}.", when="listened"),
        one("\"I should have listened,\" said {h}. {He} never went near the {danger} again.", "{hs} {~kin} hugged {hm}. \"I am sorry,\" {hsaid}.", when="ignored"),
    ),
)


def _wish(slots, dice):
    slots["source"] = dice.pick(["star", "magic fish", "old well", "fairy", "genie", "wizard", "golden bird", "magic stone"])
    slots["wish"], slots["result"] = dice.pick([
        ("to be very big", "{he} could not fit into {hs} {hhome}"),
        ("to be very small", "even the ants were bigger than {he} was"),
        ("to have a mountain of candy", "{hs} teeth and stomach hurt"),
        ("to fly", "{he} was all alone up in the cold sky"),
        ("to be the king", "everyone wanted something from {hm} all day"),
        ("to be invisible", "nobody could see {hm} or play with {hm}"),
        ("to turn everything into gold", "{hs} bread was gold and {he} could not eat it"),
        ("to never sleep", "{he} was awake and bored while all {hs} friends slept"),
        ("to have summer all year", "the flowers were dry and the well was empty"),
        ("to be the richest of all", "{he} had to guard {hs} money day and night"),
    ])


WISH = Plot(
    "wish", about="a~ {source}", setup=_wish,
    lesson=("Be careful what you wish for.", "What you have may be just right.", "A friend is better than any wish."),
    beats=(
        one("{oneday}, {h} met a~ {source} {pat}.", "{oneday}, {h} found a~ {source}. It could [speak|talk]!"),
        one("\"You may have one wish,\" said the {source}.", "\"Make a wish,\" said the {source}, \"but think well.\""),
        one("\"I want {wish}!\" {hsaid} {~fast}.", "{h} did not think long. \"I wish {wish}!\" {he} said."),
        one("And so it was. At first {he} was {~glad}.", "Poof! The wish came true, and {h} laughed."),
        one("But soon {result}.", "But the next day, {result}."),
        one("{f} the {fk} came by. \"I liked you better before,\" {fe} said.", "{h} missed {hs} friend {f}, the {fk}."),
        one("{h} {~ran} back to the {source}. \"Please, make it as it was before!\" {he} said.", "\"I do not want {wish} any more,\" {he} told the {source}."),
        one("The {source} smiled, and everything was as before. {h} hugged {f}.", "\"Now you know,\" said the {source}. And {h} went home to {f}."),
    ),
)

SNOW = Plot(
    "snow day", about="a~ {wear}",
    setup=lambda slots, dice: slots.update(wear=dice.pick(["scarf", "hat", "coat", "sweater", "blanket", "cape", "shawl"]), shade=dice.pick(["red", "blue", "green", "yellow", "purple", "orange", "striped"])),
    lesson=("A warm heart keeps others warm.", "Giving makes you warm inside."),
    beats=(
        one("One winter {~time}, snow covered {p}. {h} put on {hs} {shade} {wear} and went out.", "It was winter, and everything {pat} was white. {h} wore a~ {shade} {wear} that {hs} {~kin} had made."),
        one("{He} built a snowman with a carrot nose and {~few} buttons.", "{He} rode a sled down the hill {~few} times.", "{He} made a snow castle with a tall tower."),
        one("Then {he} saw {f} the {fk}, who was shivering in the cold.", "By {q} {he} met a little {fk} named {f}, who had nothing warm to wear."),
        one("{h} looked at {hs} {wear}. It was {hs} favorite.", "\"You are so cold,\" said {h} {~softly}."),
        one("\"Here, take my {wear},\" {hsaid}. \"I can run home. You cannot.\"", "{He} took off the {shade} {wear} and gave it to {f}."),
        one("{f} stopped shivering. \"{~Thanks},\" {fe} said.", "\"It is so warm!\" said {f}, and {fe} smiled for the first time."),
        one("When {h} came home, {hs} {~kin} asked, \"Where is your {wear}?\" \"{f} needed it more,\" {hsaid}.", "At home {he} sat by the fire and drank {~drink}."),
        one("In the spring, {f} brought the {shade} {wear} back, with {~flowers} in it.", "The next day {f} came with a~ {~bake}, and {fe} still wore the {shade} {wear}."),
    ),
)

PLOTS = (RACE, SHELTER, WAY_HOME, LETTER, PIE_PUZZLE, SLEEPLESS, WARNING, WISH, SNOW)
