use std::collections::HashMap;
use std::sync::LazyLock;

use fancy_regex::Regex;
use proptest::prelude::*;

use super::class::Classes;
use super::{PreTokenizer, catalog};

/// The expressions each pre-tokenizer stands for, by its first name.
static PATTERNS: LazyLock<HashMap<String, Vec<String>>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../testdata/patterns.json")).expect("valid JSON")
});

static REGEXES: LazyLock<Vec<(&'static PreTokenizer, Vec<Regex>)>> = LazyLock::new(|| {
    // `bailingmoe` is written in its own way and must split as `qwen2` does.
    PATTERNS
        .iter()
        .map(|(name, patterns)| {
            let pre = PreTokenizer::find(name).expect("a pattern has a pre-tokenizer");
            let compile = |pattern: &String| Regex::new(pattern).expect("a valid expression");
            (pre, patterns.iter().map(compile).collect())
        })
        .collect()
});

/// Splits as a sequence of Hugging Face's isolating `Split`s.
fn naive<'t>(regexes: &[Regex], text: &'t str) -> Vec<&'t str> {
    let mut pieces = vec![text];
    for regex in regexes {
        let mut next = Vec::new();
        for piece in pieces {
            let mut done = 0;
            for found in regex.find_iter(piece) {
                let found = found.expect("within the backtracking limit");
                next.extend([&piece[done..found.start()], found.as_str()]);
                done = found.end();
            }
            next.push(&piece[done..]);
        }
        next.retain(|piece| !piece.is_empty());
        pieces = next;
    }
    pieces
}

fn split<'t>(pre: &PreTokenizer, text: &'t str) -> Vec<&'t str> {
    let mut pieces = Vec::new();
    pre.split(text, &mut |piece| pieces.push(piece));
    pieces
}

#[test]
fn every_pre_tokenizer_has_a_pattern_and_names_are_unique() {
    let mut names: Vec<&str> = Vec::new();
    for pre in catalog::ALL {
        assert!(PATTERNS.contains_key(pre.name()), "{}", pre.name());
        names.extend(pre.names.iter());
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn classes_are_the_categories_of_regular_expressions() {
    let unassigned = Regex::new(r"^\p{Cn}$").expect("a valid expression");
    let all: Vec<char> = ('\0'..=char::MAX).collect();
    let text: String = all.iter().collect();
    let members = |pattern: &str| {
        let regex = Regex::new(&format!("{pattern}+")).expect("a valid expression");
        let mut members = vec![false; char::MAX as usize + 1];
        for found in regex.find_iter(&text) {
            for c in found.expect("no backtracking").as_str().chars() {
                members[c as usize] = true;
            }
        }
        members
    };
    let classes = [
        (r"\p{L}", Classes::LETTER),
        (
            r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]",
            Classes::UPPER_OR_CASELESS,
        ),
        (r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", Classes::LOWER_OR_CASELESS),
        (r"\p{M}", Classes::MARK),
        (r"\p{N}", Classes::NUMBER),
        (r"\d", Classes::DECIMAL),
        (r"\p{P}", Classes::PUNCTUATION),
        (r"\p{S}", Classes::SYMBOL),
        (r"\s", Classes::WHITESPACE),
        (r"[A-Za-z]", Classes::ASCII_LETTER),
        (r"[\r\n]", Classes::LINE_END),
    ];
    let mut changed: Vec<char> = Vec::new();
    for (pattern, class) in classes {
        let members = members(pattern);
        changed.extend(all.iter().filter(|&&c| {
            class.contains(c) != members[c as usize]
                && !unassigned
                    .is_match(c.encode_utf8(&mut [0; 4]))
                    .expect("no backtracking")
        }));
    }
    changed.sort_unstable();
    changed.dedup();
    // The oracle knows Unicode 16; later versions add characters and change few.
    assert_eq!(changed, ['ʕ']);
}

/// Fragments that patterns tell apart, and some that none does.
const FRAGMENTS: &[&str] = &[
    "a",
    "B",
    "the",
    "Hello",
    "camelCase",
    "HTTPServer",
    "I",
    "é",
    "É",
    "ß",
    "ſ",
    "K",
    "ǅ",
    "ʰ",
    "e\u{301}",
    "\u{301}",
    "\u{308}",
    "ы",
    "Ж",
    "λ",
    "Ω",
    "ა",
    "Ა",
    "ა",
    "א",
    "ش",
    "क\u{93f}",
    "क\u{94d}ष",
    "\u{93e}",
    "ไ",
    "ท",
    "ย",
    "\u{e34}",
    "한",
    "국",
    "ㅎ",
    "ㄱ",
    "漢",
    "字",
    "々",
    "〇",
    "〡",
    "⺀",
    "ひ",
    "カ",
    "ー",
    "ㄅ",
    "𠀀",
    "𐐀",
    "𐐨",
    "ª",
    "1",
    "12",
    "123",
    "1234567",
    "٣",
    "٣٤",
    "²",
    "½",
    "Ⅳ",
    "①",
    "１",
    "'",
    "'s",
    "'S",
    "'t",
    "'re",
    "'RE",
    "'Ve",
    "'m",
    "'LL",
    "'d",
    "'ſ",
    "'x",
    "’s",
    "\"",
    "!",
    "?",
    ".",
    "...",
    ",",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "|",
    "/",
    "//",
    "\\",
    "-",
    "_",
    "#",
    "@",
    "%",
    "&",
    "*",
    ":",
    ";",
    "$",
    "+",
    "<",
    "=",
    ">",
    "^",
    "`",
    "~",
    "€",
    "←",
    "…",
    "“",
    "”",
    "‘",
    "—",
    "。",
    "，",
    "、",
    "！",
    "：",
    "；",
    "（",
    "～",
    "\u{fe30}",
    "।",
    "۔",
    "،",
    "🦙",
    "👩\u{200d}🚀",
    "\u{fe0f}",
    "🇫🇷",
    " ",
    "  ",
    "   ",
    "\t",
    "\n",
    "\n\n",
    "\r",
    "\r\n",
    "\u{b}",
    "\u{85}",
    "\u{a0}",
    "\u{3000}",
    "\u{2028}",
    "\u{200b}",
    "\0",
    "\u{1b}",
    "\u{7f}",
    "\u{ad}",
    "\u{feff}",
    "\u{fffd}",
    "\u{e000}",
    "▁",
];

fn texts() -> impl Strategy<Value = String> {
    let fragment = (prop::sample::select(FRAGMENTS), 0..12_usize).prop_map(|(fragment, count)| {
        // Mostly once, now and then a run.
        fragment.repeat(if count < 8 { 1 } else { count - 7 })
    });
    prop::collection::vec(fragment, 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn pieces_are_those_of_the_regular_expressions(text in texts()) {
        for (pre, regexes) in REGEXES.iter() {
            prop_assert_eq!(split(pre, &text), naive(regexes, &text), "{}", pre.name());
        }
    }

    #[test]
    fn pieces_are_the_whole_text(text: String) {
        for pre in catalog::ALL {
            prop_assert_eq!(split(pre, &text).concat(), text.as_str(), "{}", pre.name());
        }
    }
}

#[test]
fn long_runs_of_whitespace_cascade() {
    let (pre, regexes) = REGEXES
        .iter()
        .find(|(pre, _)| pre.name() == "jais-2")
        .expect("it is in the patterns");
    for len in (0..40).chain([255, 256, 257, 511, 512, 513, 514, 1500]) {
        for end in ["", "a", "\na", "."] {
            let text = format!("x{}{end}", " ".repeat(len));
            assert_eq!(split(pre, &text), naive(regexes, &text), "{len} {end:?}");
        }
    }
}
