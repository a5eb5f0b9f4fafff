//! Where a tag must be charged for values that the engine walks for free.
//!
//! `[[[0] * 1000] * 1000] * 1000` takes a few steps to build, but as many as
//! it has items to compare, hash or print; the engine charges for the first
//! level. So what an operator, a call, a subscript, a mapping's key or a
//! filter is given goes through a filter that walks and charges it first.
//! Only tokens are looked at: operands need not be found exactly, as long as
//! every value that is part of one is charged, and a filter binds tighter
//! than any operator.

use minijinja::machinery::{Span, Token};

/// Charges for a value and returns it.
const AS_OPERAND: &str = "|outrigger_operand";
/// Makes an operand of `~` the text it is printed as.
const AS_TEXT: &str = "|outrigger_text";
/// Refuses lists as operands of `*`.
const AS_FACTOR: &str = "|outrigger_factor";

/// Filters that look at the first level of their input alone, or charge for
/// it themselves. The others are charged for all of it.
const SHALLOW_FILTERS: [&str; 19] = [
    "abs", "bool", "count", "d", "default", "first", "float", "format", "int", "items", "join",
    "last", "length", "list", "reverse", "round", "string", "tojson", "trim",
];

/// Tests that look at a value's kind alone.
const SHALLOW_TESTS: [&str; 16] = [
    "boolean",
    "callable",
    "defined",
    "even",
    "false",
    "float",
    "integer",
    "iterable",
    "mapping",
    "none",
    "number",
    "odd",
    "sequence",
    "string",
    "true",
    "undefined",
];

/// Words that begin an operand or stand between two.
const KEYWORDS: [&str; 8] = ["and", "else", "if", "in", "is", "not", "or", "recursive"];

/// Text put into a source, in order of place and then of rank.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Insertion {
    pub(super) at: usize,
    rank: u8,
    pub(super) text: &'static str,
}

const AFTER_OPERAND: u8 = 0;
const AFTER_ARGUMENT: u8 = 1;
const AFTER_TAG: u8 = 2;
const BEFORE_ARGUMENT: u8 = 3;

impl Insertion {
    pub(super) fn at_end(at: usize, text: &'static str) -> Self {
        Self {
            at,
            rank: AFTER_TAG,
            text,
        }
    }
}

/// The tokens of one tag, without its delimiters.
pub(super) struct Tag<'t, 's> {
    tokens: &'t [(Token<'s>, Span)],
    /// For each bracket, where the other one is.
    partners: Vec<usize>,
    /// The first token is a statement's keyword.
    is_block: bool,
}

impl<'t, 's> Tag<'t, 's> {
    /// Fails, with the token, if brackets do not match.
    pub(super) fn new(
        tokens: &'t [(Token<'s>, Span)],
        is_block: bool,
    ) -> Result<Self, &'t (Token<'s>, Span)> {
        let mut partners = vec![0; tokens.len()];
        let mut open = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            match token.0 {
                Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => open.push(at),
                Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                    let partner = open.pop().ok_or(token)?;
                    (partners[at], partners[partner]) = (partner, at);
                }
                _ => {}
            }
        }
        match open.pop() {
            Some(at) => Err(&tokens[at]),
            None => Ok(Self {
                tokens,
                partners,
                is_block,
            }),
        }
    }

    /// Collects what is to be put into the source.
    pub(super) fn charges(&self, out: &mut Vec<Insertion>) {
        let header = |word: &str| self.is_block && self.word(0) == Some(word);
        let mut loop_header = header("for");
        // The parameters of a macro are not arguments.
        let declared = if header("macro") { 2 } else { usize::MAX };
        for at in usize::from(self.is_block)..self.tokens.len() {
            match &self.tokens[at].0 {
                Token::Tilde => self.around(at, AS_TEXT, out),
                Token::Mul => self.around(at, AS_FACTOR, out),
                Token::Plus
                | Token::Minus
                | Token::Div
                | Token::FloorDiv
                | Token::Mod
                | Token::Pow
                | Token::Eq
                | Token::Ne
                | Token::Lt
                | Token::Lte
                | Token::Gt
                | Token::Gte => self.around(at, AS_OPERAND, out),
                Token::Ident("in") if loop_header && self.is_keyword(at) => loop_header = false,
                Token::Ident("in") if self.is_keyword(at) => self.around(at, AS_OPERAND, out),
                Token::Ident("is") if self.is_keyword(at) => self.test(at, out),
                Token::Pipe => {
                    let name = self.word(at + 1);
                    if !name.is_some_and(|name| SHALLOW_FILTERS.contains(&name)) {
                        self.before(at, AS_OPERAND, out);
                    }
                }
                Token::ParenOpen if at != declared && self.ends_operand(at) => {
                    self.arguments(at, out);
                }
                Token::BracketOpen if self.ends_operand(at) => self.subscript(at, out),
                Token::BraceOpen => self.keys(at, out),
                _ => {}
            }
        }
    }

    fn word(&self, at: usize) -> Option<&'s str> {
        match self.tokens.get(at)?.0 {
            Token::Ident(word) => Some(word),
            _ => None,
        }
    }

    /// Whether the word at `at` is a keyword, not a name of an attribute, a
    /// filter or a test.
    fn is_keyword(&self, at: usize) -> bool {
        if self.is_block && at == 0 {
            return true;
        }
        let named = match at.checked_sub(1).map(|before| &self.tokens[before].0) {
            Some(Token::Dot | Token::Pipe) => true,
            Some(Token::Ident("is")) => self.is_keyword(at - 1) && self.word(at) != Some("not"),
            Some(Token::Ident("not")) => at >= 2 && self.word(at - 2) == Some("is"),
            _ => false,
        };
        !named && self.word(at).is_some_and(|word| KEYWORDS.contains(&word))
    }

    fn is_literal(&self, at: usize) -> bool {
        matches!(
            self.tokens.get(at).map(|token| &token.0),
            Some(
                Token::Str(_)
                    | Token::String(_)
                    | Token::Int(_)
                    | Token::Int128(_)
                    | Token::Float(_)
            )
        )
    }

    /// Whether an operand ends before the token at `at`.
    fn ends_operand(&self, at: usize) -> bool {
        let Some(before) = at.checked_sub(1) else {
            return false;
        };
        match self.tokens[before].0 {
            Token::ParenClose | Token::BracketClose | Token::BraceClose => true,
            Token::Ident(_) => !self.is_keyword(before),
            _ => self.is_literal(before),
        }
    }

    fn start(&self, at: usize) -> usize {
        self.tokens[at].1.start_offset as usize
    }

    fn end(&self, at: usize) -> usize {
        self.tokens[at].1.end_offset as usize
    }

    /// Charges the operands on both sides of the operator at `at`.
    fn around(&self, at: usize, filter: &'static str, out: &mut Vec<Insertion>) {
        let negated = self.word(at) == Some("in") && self.word(at.saturating_sub(1)) == Some("not");
        let left = if negated { at - 1 } else { at };
        // Without one it is a sign, or unpacks arguments.
        if self.ends_operand(left) {
            self.before(left, filter, out);
            self.after(at + 1, filter, out);
        }
    }

    /// Charges the operand that ends before `at`.
    fn before(&self, at: usize, filter: &'static str, out: &mut Vec<Insertion>) {
        if self.ends_operand(at) && !self.is_literal(at - 1) {
            out.push(Insertion {
                at: self.end(at - 1),
                rank: AFTER_OPERAND,
                text: filter,
            });
        }
    }

    /// Charges the operand that begins at `at`.
    fn after(&self, mut at: usize, filter: &'static str, out: &mut Vec<Insertion>) {
        while matches!(self.tokens.get(at), Some((Token::Minus | Token::Plus, _))) {
            at += 1;
        }
        let end = self.operand_end(at);
        if end > at && !(end == at + 1 && self.is_literal(at)) {
            out.push(Insertion {
                at: self.end(end - 1),
                rank: AFTER_OPERAND,
                text: filter,
            });
        }
    }

    /// One past the last token of the primary expression at `at` with its
    /// attributes, subscripts, calls and filters.
    fn operand_end(&self, at: usize) -> usize {
        let mut end = match self.tokens.get(at).map(|token| &token.0) {
            Some(Token::ParenOpen | Token::BracketOpen | Token::BraceOpen) => self.partners[at] + 1,
            Some(Token::Ident(_)) => at + 1,
            _ if self.is_literal(at) => at + 1,
            _ => return at,
        };
        while let Some((token, _)) = self.tokens.get(end) {
            end = match token {
                Token::Dot | Token::Pipe if end + 1 < self.tokens.len() => end + 2,
                Token::ParenOpen | Token::BracketOpen => self.partners[end] + 1,
                Token::Str(_) | Token::String(_) => end + 1,
                _ => break,
            };
        }
        end
    }

    /// Charges the value and the argument of the test at `is`.
    fn test(&self, is: usize, out: &mut Vec<Insertion>) {
        let name = is + 1 + usize::from(self.word(is + 1) == Some("not"));
        if self
            .word(name)
            .is_some_and(|name| SHALLOW_TESTS.contains(&name))
        {
            return;
        }
        self.before(is, AS_OPERAND, out);
        let argument = name + 1;
        if !self.is_keyword(argument)
            && !matches!(self.tokens.get(argument), Some((Token::ParenOpen, _)))
        {
            self.after(argument, AS_OPERAND, out);
        }
    }

    /// Splits what is between the brackets at `open` at its commas.
    fn parts(&self, open: usize) -> Vec<(usize, usize)> {
        let mut parts = Vec::new();
        let mut start = open + 1;
        let mut at = start;
        while at < self.partners[open] {
            match self.tokens[at].0 {
                Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => at = self.partners[at],
                Token::Comma => {
                    parts.push((start, at));
                    start = at + 1;
                }
                _ => {}
            }
            at += 1;
        }
        parts.push((start, self.partners[open]));
        parts
    }

    fn arguments(&self, open: usize, out: &mut Vec<Insertion>) {
        for (mut start, end) in self.parts(open) {
            if matches!(self.tokens.get(start + 1), Some((Token::Assign, _))) {
                start += 2;
            }
            self.whole(start, end, out);
        }
    }

    /// Slices are left alone: their bounds are numbers or an error.
    fn subscript(&self, open: usize, out: &mut Vec<Insertion>) {
        for (start, end) in self.parts(open) {
            if self.colon(start, end).is_none() {
                self.whole(start, end, out);
            }
        }
    }

    fn keys(&self, open: usize, out: &mut Vec<Insertion>) {
        for (start, end) in self.parts(open) {
            if let Some(colon) = self.colon(start, end) {
                self.whole(start, colon, out);
            }
        }
    }

    /// A colon that is in no further brackets.
    fn colon(&self, start: usize, end: usize) -> Option<usize> {
        let mut at = start;
        while at < end {
            match self.tokens[at].0 {
                Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => at = self.partners[at],
                Token::Colon => return Some(at),
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// Charges a whole expression.
    fn whole(&self, start: usize, end: usize, out: &mut Vec<Insertion>) {
        let one_literal = end == start + 1 && self.is_literal(start);
        let unpacked = matches!(self.tokens[start].0, Token::Mul | Token::Pow);
        if end <= start || one_literal || unpacked {
            return;
        }
        out.push(Insertion {
            at: self.start(start),
            rank: BEFORE_ARGUMENT,
            text: "(",
        });
        out.push(Insertion {
            at: self.end(end - 1),
            rank: AFTER_ARGUMENT,
            text: ")|outrigger_operand",
        });
    }
}
