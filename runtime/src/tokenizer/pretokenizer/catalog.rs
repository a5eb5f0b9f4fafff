//! The pre-tokenizers by name.
//!
//! Names, expressions and defaults are those of llama.cpp's `llama-vocab.cpp`
//! (commit 00ad355). Where it quotes the expression of the `tokenizer.json`
//! that its own approximates, the quoted one is followed.

use super::PreTokenizer;
use super::class::{Classes, Set};
use super::ranges;
use super::rule::{Cased, Rule, Step, WORD_LEAD};

/// `[^\s\p{L}\p{N}]`
const OTHER: Classes = Classes::WHITESPACE
    .or(Classes::LETTER)
    .or(Classes::NUMBER)
    .not();
const LETTER: Set = Set::of(Classes::LETTER);
const NUMBER: Set = Set::of(Classes::NUMBER);
const LINE_END: Set = Set::of(Classes::LINE_END);
const PUNCTUATION_OR_SYMBOL: Classes = Classes::PUNCTUATION.or(Classes::SYMBOL);

/// `\s+`
const SPACES: Rule = Rule::run(Set::of(Classes::WHITESPACE));
/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
const CONTRACTION: Rule = Rule::Contraction { any_case: true };
/// `[^\r\n\p{L}\p{N}]?\p{L}+`
const WORD: Rule = Rule::led(WORD_LEAD, LETTER);
/// ` ?[^\s\p{L}\p{N}]+[\r\n]*`
const OTHER_TO_LINE_END: Rule = Rule::spaced_with_tail(OTHER, Classes::LINE_END, usize::MAX);

/// `\p{N}`
const ONE_NUMBER: Step = Step::First(&[Rule::at_most(NUMBER, 1)]);
/// `\p{N}+`
const NUMBERS: Step = Step::First(&[Rule::run(NUMBER)]);
/// `\p{N}{1,3}`
const THREE_NUMBERS: Step = Step::First(&[Rule::at_most(NUMBER, 3)]);
/// `[\r\n]`
const ONE_LINE_END: Step = Step::First(&[Rule::at_most(LINE_END, 1)]);
/// `[^\n]+|[\n]+`
const LINES: Step = Step::First(&[
    Rule::run(Set::of(Classes::LINE_FEED.not())),
    Rule::run(Set::of(Classes::LINE_FEED)),
]);

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
const GPT_2: Step = Step::First(&[
    Rule::Contraction { any_case: false },
    Rule::spaced(Classes::LETTER),
    Rule::spaced(Classes::NUMBER),
    Rule::spaced(OTHER),
    Rule::SpacesBeforeLast,
    SPACES,
]);

/// `(?i:'s|...)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
const LLAMA_3: Step = Step::First(&[
    CONTRACTION,
    WORD,
    Rule::at_most(NUMBER, 3),
    OTHER_TO_LINE_END,
    Rule::LineEnds,
    Rule::SpacesBeforeLast,
    SPACES,
]);

/// Llama 3's with `\p{N}`
const QWEN_2: Step = Step::First(&[
    CONTRACTION,
    WORD,
    Rule::at_most(NUMBER, 1),
    OTHER_TO_LINE_END,
    Rule::LineEnds,
    Rule::SpacesBeforeLast,
    SPACES,
]);

/// Qwen 2's with marks counted as letters
const QWEN_35: Step = Step::First(&[
    CONTRACTION,
    Rule::led(WORD_LEAD, Set::of(Classes::LETTER.or(Classes::MARK))),
    Rule::at_most(NUMBER, 1),
    Rule::spaced_with_tail(
        Classes::WHITESPACE
            .or(Classes::LETTER)
            .or(Classes::MARK)
            .or(Classes::NUMBER)
            .not(),
        Classes::LINE_END,
        usize::MAX,
    ),
    Rule::LineEnds,
    Rule::SpacesBeforeLast,
    SPACES,
]);

/// Qwen 2's without contractions
const UFAKZEKA: Step = Step::First(&[
    WORD,
    Rule::at_most(NUMBER, 1),
    OTHER_TO_LINE_END,
    Rule::LineEnds,
    Rule::SpacesBeforeLast,
    SPACES,
]);

/// Llama 3's with `\p{N}+`
const MINICPM_5: Step = Step::First(&[
    CONTRACTION,
    WORD,
    Rule::run(NUMBER),
    OTHER_TO_LINE_END,
    Rule::LineEnds,
    Rule::SpacesBeforeLast,
    SPACES,
]);

/// Llama 3's with runs of whitespace cut at powers of two
const JAIS_2: Step = Step::First(&[
    CONTRACTION,
    WORD,
    Rule::at_most(NUMBER, 3),
    OTHER_TO_LINE_END,
    Rule::LineEnds,
    Rule::SpaceCascade,
]);

/// Qwen 2's with ` ?[^\s\p{L}\p{N}\r\n]+`
const SEED_CODER: Step = Step::First(&[
    CONTRACTION,
    WORD,
    Rule::at_most(NUMBER, 1),
    Rule::spaced(OTHER),
    Rule::LineEnds,
    Rule::SpacesBeforeLast,
    SPACES,
]);

/// Words of several letters runs with single blanks between, `[\r\n/]?` after others
const EXAONE_MOE: Step = Step::First(&[
    CONTRACTION,
    Rule::Phrase,
    Rule::at_most(NUMBER, 1),
    Rule::spaced_with_tail(OTHER, Classes::LINE_END.or(Classes::SLASH), 1),
    Rule::LineEnds,
    Rule::SpacesBeforeLast,
    SPACES,
]);

const CASED: Cased = Cased {
    upper: Set::of(Classes::UPPER_OR_CASELESS),
    lower: Set::of(Classes::LOWER_OR_CASELESS),
    contraction: true,
};
/// ` ?[^\s\p{L}\p{N}]+[\r\n/]*`
const OTHER_TO_SLASH: Rule =
    Rule::spaced_with_tail(OTHER, Classes::LINE_END.or(Classes::SLASH), usize::MAX);

/// `cased|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`, where `cased` is
/// `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|...)?`
/// and the same with `+` and `*` exchanged
const GPT_4O: Step = Step::First(&[
    Rule::Cased(CASED),
    Rule::at_most(NUMBER, 3),
    OTHER_TO_SLASH,
    Rule::LineEnds,
    Rule::SpacesBeforeLast,
    SPACES,
]);

/// GPT-4o's with `\p{N}` and without contractions
const TEKKEN: Step = Step::First(&[
    Rule::Cased(Cased {
        contraction: false,
        ..CASED
    }),
    Rule::at_most(NUMBER, 1),
    OTHER_TO_SLASH,
    Rule::LineEnds,
    Rule::SpacesBeforeLast,
    SPACES,
]);

/// GPT-4o's with `\p{N}`
const YOUTU: Step = Step::First(&[
    Rule::Cased(CASED),
    Rule::at_most(NUMBER, 1),
    OTHER_TO_SLASH,
    Rule::LineEnds,
    Rule::SpacesBeforeLast,
    SPACES,
]);

/// `[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+`
const YOUTU_SCRIPTS: Step = Step::First(&[
    Rule::run(Set::ranges(ranges::HANGUL)),
    Rule::run(Set::ranges(ranges::CJK_PUNCTUATION)),
    Rule::run(Set::ranges(ranges::BOPOMOFO)),
    Rule::run(Set::ranges(ranges::CJK_V3)),
]);

/// `\p{Han}+`, then GPT-4o's with Han taken from the letters and `[\r\n]*` after others
const KIMI_K2: Step = Step::First(&[
    Rule::run(Set::ranges(ranges::HAN)),
    Rule::Cased(Cased {
        upper: Set::without(Classes::UPPER_OR_CASELESS, ranges::HAN),
        lower: Set::without(Classes::LOWER_OR_CASELESS, ranges::HAN),
        contraction: true,
    }),
    Rule::at_most(NUMBER, 3),
    OTHER_TO_LINE_END,
    Rule::LineEnds,
    Rule::SpacesBeforeLast,
    SPACES,
]);

/// `[一-龥぀-ゟ゠-ヿ]+`
const DEEPSEEK_V3_CJK: Step = Step::First(&[Rule::run(Set::ranges(ranges::CJK_V3))]);
/// `[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+`
const DEEPSEEK_V3_CODE: Rule = Rule::after(Classes::ASCII_GRAPHIC, Classes::ASCII_LETTER);
/// `[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+`
const DEEPSEEK_V3_WORD: Rule = Rule::led(
    Set::of(
        Classes::LINE_END
            .or(Classes::LETTER)
            .or(PUNCTUATION_OR_SYMBOL)
            .not(),
    ),
    Set::of(Classes::LETTER.or(Classes::MARK)),
);

/// `code|word| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
const DEEPSEEK_V3: Step = Step::First(&[
    DEEPSEEK_V3_CODE,
    DEEPSEEK_V3_WORD,
    Rule::spaced_with_tail(PUNCTUATION_OR_SYMBOL, Classes::LINE_END, usize::MAX),
    Rule::LineEnds,
    Rule::SpacesBeforeLast,
    SPACES,
]);

/// `code|word| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+`
const SPARK_25: Step = Step::First(&[
    DEEPSEEK_V3_CODE,
    DEEPSEEK_V3_WORD,
    Rule::spaced(PUNCTUATION_OR_SYMBOL),
    Rule::at_most(LINE_END, 1),
    Rule::SpacesBeforeLast,
    SPACES,
]);

const SPACE_LEAD: Set = Set::of(Classes::WHITESPACE);
/// `\s?[A-Za-zµÀ-Ö...]+`
const DEEPSEEK_LLM_WORD: Step =
    Step::First(&[Rule::led(SPACE_LEAD, Set::ranges(ranges::LETTERS_V1))]);
/// `\s?[!-/:-~！-／：-～‘-‟　-。]+`
const DEEPSEEK_LLM_PUNCTUATION: Step =
    Step::First(&[Rule::led(SPACE_LEAD, Set::ranges(ranges::PUNCTUATION_V1))]);
/// `\s?\p{L}+`
const DEEPSEEK_CODER_WORD: Step = Step::First(&[Rule::led(SPACE_LEAD, LETTER)]);
/// `\s?\p{P}+`
const DEEPSEEK_CODER_PUNCTUATION: Step =
    Step::First(&[Rule::led(SPACE_LEAD, Set::of(Classes::PUNCTUATION))]);
/// `[一-龥ࠀ-一가-퟿]+`
const DEEPSEEK_V1_CJK: Step = Step::First(&[Rule::run(Set::ranges(ranges::CJK_V1))]);

/// ``[\p{P}\$\+<=>\^~\|`]+``
const FALCON_PUNCTUATION: Step = Step::First(&[Rule::run(Set::of(
    Classes::PUNCTUATION
        .or(Classes::ASCII_SYMBOL)
        .or(Classes::BACKTICK),
))]);
/// `[\p{P}\$\+<=>\^~\|]+`
const DEFAULT_PUNCTUATION: Step = Step::First(&[Rule::run(Set::of(
    Classes::PUNCTUATION.or(Classes::ASCII_SYMBOL),
))]);
/// `[0-9][0-9][0-9]`
const THREE_DIGITS: Step = Step::First(&[Rule::ThreeDigits]);

/// ` ?[^(\s|.,!?…。，、।۔،)]+`
const BLOOM: Step = Step::First(&[Rule::led(
    Set::of(Classes::SPACE),
    Set::without(Classes::WHITESPACE.not(), ranges::BLOOM_STOPS),
)]);

/// Every pre-tokenizer there is.
pub(super) const ALL: &[PreTokenizer] = &[
    PreTokenizer::new(
        &["default"],
        &[DEFAULT_PUNCTUATION, GPT_2, NUMBERS, THREE_DIGITS],
    ),
    PreTokenizer::new(
        &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
        &[LLAMA_3],
    )
    .ignoring_merges()
    .with_bos(),
    PreTokenizer::new(&["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], &[LLAMA_3]),
    PreTokenizer::new(
        &[
            "qwen2",
            "deepseek-r1-qwen",
            "kormo",
            "f2llmv2",
            "megrez",
            "stablelm2",
            "hunyuan",
            "solar-open",
            "grok-2",
            // Its possessive quantifiers and single `[\r\n]` match the same.
            "bailingmoe",
            "bailingmoe2",
            "llada-moe",
        ],
        &[QWEN_2],
    ),
    PreTokenizer::new(&["qwen35"], &[QWEN_35]),
    PreTokenizer::new(&["laguna"], &[LINES, QWEN_2]),
    PreTokenizer::new(&["ufakzeka"], &[UFAKZEKA]),
    PreTokenizer::new(&["minicpm5"], &[THREE_NUMBERS, MINICPM_5]).ignoring_merges(),
    PreTokenizer::new(&["jais-2"], &[JAIS_2]),
    PreTokenizer::new(&["seed-coder"], &[SEED_CODER]),
    PreTokenizer::new(&["exaone-moe"], &[EXAONE_MOE]),
    PreTokenizer::new(
        &[
            "gpt-2",
            "phi-2",
            "mpt",
            "olmo",
            "jais",
            "jina-es",
            "jina-de",
            "jina-v1-en",
            "jina-v2-es",
            "jina-v2-de",
            "jina-v2-code",
            "roberta-bpe",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "exaone4",
            "trillion",
            "granite-docling",
        ],
        &[GPT_2],
    ),
    PreTokenizer::new(
        &[
            "starcoder",
            "refact",
            "command-r",
            "smollm",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
        &[ONE_NUMBER, GPT_2],
    ),
    PreTokenizer::new(&["falcon"], &[FALCON_PUNCTUATION, GPT_2, THREE_DIGITS]),
    PreTokenizer::new(&["tekken"], &[TEKKEN])
        .ignoring_merges()
        .with_bos(),
    PreTokenizer::new(
        &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
        &[GPT_4O],
    ),
    PreTokenizer::new(&["granite-embed-multi-97m"], &[GPT_4O]).ignoring_merges(),
    PreTokenizer::new(
        &["tiny_aya", "cohere2moe"],
        &[Step::DigitTriplesAtWordEnd, GPT_4O],
    ),
    PreTokenizer::new(&["youtu"], &[YOUTU_SCRIPTS, YOUTU]).ignoring_merges(),
    PreTokenizer::new(&["kimi-k2"], &[KIMI_K2]),
    PreTokenizer::new(
        &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        &[THREE_NUMBERS, DEEPSEEK_V3_CJK, DEEPSEEK_V3],
    ),
    PreTokenizer::new(
        &["spark2_5"],
        &[THREE_NUMBERS, DEEPSEEK_V3_CJK, SPARK_25, ONE_NUMBER],
    ),
    PreTokenizer::new(
        &["deepseek-llm"],
        &[
            ONE_LINE_END,
            DEEPSEEK_LLM_WORD,
            DEEPSEEK_LLM_PUNCTUATION,
            Step::TrailingSpace,
            DEEPSEEK_V1_CJK,
            NUMBERS,
        ],
    ),
    PreTokenizer::new(
        &["deepseek-coder"],
        &[
            ONE_LINE_END,
            DEEPSEEK_CODER_WORD,
            DEEPSEEK_CODER_PUNCTUATION,
            DEEPSEEK_V1_CJK,
            ONE_NUMBER,
        ],
    ),
    PreTokenizer::new(&["bloom", "poro-chat", "gpt3-finnish"], &[BLOOM]),
    PreTokenizer::new(&["viking"], &[BLOOM, ONE_NUMBER]),
    PreTokenizer::new(&["superbpe"], &[NUMBERS, Step::DigitTriples]),
    PreTokenizer::new(&["gemma4", "granite-embed-multi-311m"], &[LINES]).escaped(),
];
