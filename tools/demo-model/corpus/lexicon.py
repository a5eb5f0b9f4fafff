"""The word lists that templates draw from with {~name}."""


def _split(text: str) -> list:
    return [word.replace("_", " ") for word in text.split()]


GIRLS = _split(
    "Lily Mia Anna Rose Clara Nora Ruby Ella Ivy Daisy Emma Lucy Molly Hazel"
    " Grace Zoe Maya Tess Olive Wren June Pearl Greta Elsa Nina Hanna Sara Vera"
)
BOYS = _split(
    "Tom Ben Max Sam Leo Jack Finn Oscar Henry Theo Hugo Felix Milo Noah Otto"
    " Peter Simon Toby Will Adam Luke Oliver Ned Gus Paul Emil Karl Anton"
)
PETS = _split(
    "Pip Rusty Bramble Clover Pepper Biscuit Button Nutmeg Hopper Whisk Tumble"
    " Dot Fern Moss Acorn Pebble Maple Ginger Sunny Shadow Misty Ziggy Pudding"
    " Waffle Poppy Willow Bean Patch Socks Thistle Copper Juniper Pickle Twig"
)

CHILD_KINDS = {"f": ["girl"], "m": ["boy"]}
WORKERS = _split(
    "baker farmer painter tailor sailor gardener shepherd miller carpenter"
    " fisher potter clockmaker weaver"
)
ANIMALS = _split(
    "fox rabbit bear mouse owl hedgehog badger squirrel otter frog duck cat dog"
    " puppy kitten lamb pony goat pig hen goose beaver mole deer raccoon turtle"
    " penguin elephant lion tiger monkey parrot crow wolf camel donkey hamster"
    " lizard dragon koala panda"
)

# Place: the preposition that says where one is.
PLACES = {
    "forest": "in", "meadow": "in", "village": "in", "market": "at",
    "garden": "in", "hill": "on", "beach": "on", "river": "by", "lake": "by",
    "old barn": "in", "windmill": "by", "castle": "in", "cave": "in",
    "orchard": "in", "valley": "in", "mountain": "on", "island": "on",
    "harbor": "at", "stone bridge": "by", "library": "in", "farm": "on",
    "wheat field": "in", "pond": "by", "tower": "in", "town square": "in",
    "old well": "by", "waterfall": "by", "oak tree": "under",
    "pine woods": "in", "rocky shore": "on",
}

# Small things one can find, lose, give and carry.
TREASURES = _split(
    "ring coin shell marble feather button ribbon scarf hat mitten doll ball kite"
    " drum book map box spoon bell crown necklace bracelet teapot basket flute"
    " compass clock mirror whistle balloon puzzle cup toy_boat toy_train blanket"
    " pencil paintbrush umbrella wagon lantern key jar bow pillow boot locket"
    " music_box stone watch purse crayon slipper hammock vase candlestick sponge ruler telescope medal thimble magnet bucket sketchbook carpet lunchbox"
)

WORDS = {
    "color": _split(
        "red blue green yellow purple orange golden silver white black brown"
        " pink gray striped"
    ),
    "look": _split(
        "shiny old tiny bright strange wooden lovely round dusty smooth painted"
        " pretty heavy broken plain special rusty soft colorful beautiful"
    ),
    "kindadj": _split(
        "little small young cheerful curious quiet clever gentle merry friendly"
        " tiny sleepy playful thoughtful busy happy polite lively modest funny"
        " dreamy stubborn noisy lazy wild tall chubby nimble fearless bashful"
    ),
    "size": _split("small tiny cozy little tidy narrow crooked warm bright"),
    "humanhome": _split("cottage house hut cabin farmhouse"),
    "animalhome": _split("burrow den hollow_tree mossy_hut snug_hole"),
    "near": _split("near by beside behind close_to not_far_from"),
    "glad": _split(
        "happy glad proud cheerful pleased delighted thankful joyful excited merry"
    ),
    "sad": _split("sad upset lonely worried gloomy unhappy sorry miserable"),
    "scared": _split("scared afraid frightened nervous shaky"),
    "tired": _split("tired sleepy weary worn_out exhausted"),
    "fruit": _split(
        "apples pears plums cherries berries grapes peaches strawberries nuts"
        " blueberries chestnuts figs"
    ),
    "bake": _split(
        "apple_pie honey_cake plum_tart loaf_of_bread cherry_pie ginger_cookie"
        " lemon_cake pumpkin_pie carrot_cake berry_muffin"
    ),
    "meal": _split(
        "soup stew porridge pancakes noodles toast_and_jam rice_and_beans"
        " bread_and_cheese hot_potatoes"
    ),
    "drink": _split("tea warm_milk hot_cocoa apple_juice mint_tea honey_water"),
    "flowers": _split("roses tulips sunflowers daisies lilies violets poppies bluebells"),
    "weather": _split(
        "sunny windy rainy cold warm foggy cloudy snowy stormy bright chilly hot"
        " frosty misty"
    ),
    "season": _split("spring summer autumn winter"),
    "time": _split("morning afternoon evening day"),
    "weekday": _split("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
    "few": _split("two three four five six seven"),
    "said": _split("said whispered replied called"),
    "softly": _split("softly quietly gently kindly warmly shyly"),
    "fast": _split("quickly promptly happily boldly eagerly"),
    "slowly": _split("slowly carefully bravely silently patiently"),
    "ran": _split("ran hurried raced rushed dashed"),
    "walked": _split("walked went wandered strolled skipped marched"),
    "looked": _split("looked searched hunted peeked"),
    "behind": _split(
        "under_the_bed behind_the_door inside_the_cupboard below_the_stairs"
        " in_the_tall_grass under_a_pile_of_leaves behind_the_fence in_the_hay"
        " on_the_roof next_to_the_stove between_the_rocks on_the_windowsill"
    ),
    "wood": _split("sticks planks branches logs boards"),
    "tie": _split("string rope yarn nails vines ribbon"),
    "song": _split("song tune lullaby melody"),
    "instrument": _split("flute drum fiddle horn harp guitar trumpet"),
    "shape": _split("a_dragon a_ship a_whale a_castle a_sheep a_giant a_feather a_mountain"),
    "light": _split("moon stars sun fireflies candle"),
    "smell": _split("flowers bread rain grass honey smoke pine cinnamon soap vanilla leather salt clover mud butter pepper garlic"),
    "job": [
        "sweeping the floor", "washing the dishes", "picking {~fruit}",
        "feeding the chickens", "mending a fence", "carrying water",
        "folding the laundry", "watering the flowers", "stacking wood",
        "painting the gate", "raking leaves", "digging in the dirt",
        "counting clouds", "baking bread", "sewing a button",
    ],
    "hobby": [
        "to collect {~look} things", "to climb trees", "to pick {~flowers}",
        "to watch the {~light}", "to sing in the {~time}", "to tell jokes",
        "to look for {~fruit}", "to draw pictures", "to eat {~meal}",
        "to drink {~drink}", "to splash in puddles", "to play outside",
        "to read by the fire", "to listen to the rain", "to count the stars",
        "to build things", "to explore", "to dance in the kitchen",
        "to chase butterflies", "to help {~neighbor}",
    ],
    "kin": _split("mother father grandmother grandfather aunt uncle sister brother cousin"),
    "bakea": [
        "a~ {~bake}", "a~ basket of {~fruit}", "a~ bowl of {~meal}", "a~ cup of {~drink}",
        "a~ bunch of {~flowers}", "a~ {~color} coat", "a~ pair of {~color} boots",
    ],
    "birds": _split("ducks geese owls swans sparrows crows robins deer squirrels foxes"),
    "sheep": _split("sheep stars breaths clouds ducks"),
    "bird": _split("sparrow robin magpie pigeon swallow finch beetle butterfly moth snail cricket ladybug squirrel heron seagull woodpecker bumblebee dragonfly"),
    "folk": _split("baker farmer sailor gardener shepherd miller carpenter postman teacher blacksmith cobbler nurse king queen knight cook barber soldier woodcutter merchant singer doctor"),
    "spot": _split("on_the_fence on_a_branch under_a_bush by_the_road on_the_wall in_the_shade on_a_stone beside_the_gate on_top_of_the_roof in_the_ditch under_the_bench at_the_corner near_the_stairs"),
    "item": _split("bottle glove hook barrel sack saddle candle shoe rake pitcher jug plate cushion ladle pan brush trunk crate helmet flag"),
    "clothes": _split("coat hat scarf sweater cap vest cape jacket shawl belt bow shirt"),
    "neighbor": [
        "the neighbors", "the old baker", "the farmer", "everyone",
        "the other animals", "the shepherd", "the children",
    ],
    "oh": ["Oh no", "Oh dear", "Goodness", "Uh oh", "Dear me"],
    "wow": ["Wow", "Look", "How wonderful", "Hooray", "What a surprise", "My goodness"],
    "thanks": [
        "Thank you", "Thank you so much", "Thank you, my friend",
        "You are very kind", "How kind of you", "I will never forget this",
    ],
    "ok": ["Of course", "Yes", "Certainly", "Do not worry", "Gladly", "All right"],
}
