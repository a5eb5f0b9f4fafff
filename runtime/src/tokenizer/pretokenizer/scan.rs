//! Runs the steps of a pre-tokenizer over a text, in time linear in its
//! length: no rule looks at a character more than a fixed number of times.

use super::class::{Classes, Set, is_word};
use super::rule::{Cased, Lead, Rule, Run, Step, WORD_LEAD};

/// Hands the pieces that `steps` cut `text` into to `sink`, in order.
pub(super) fn split<'t>(steps: &[Step], text: &'t str, sink: &mut dyn FnMut(&'t str)) {
    let Some((step, rest)) = steps.split_first() else {
        if !text.is_empty() {
            sink(text);
        }
        return;
    };
    let mut emit = |piece: &'t str| {
        if !piece.is_empty() {
            split(rest, piece, sink);
        }
    };
    match step {
        Step::First(rules) => first_match(rules, text, &mut emit),
        Step::TrailingSpace => {
            let end = text.trim_end().len();
            emit(&text[..end]);
            emit(&text[end..]);
        }
        Step::DigitTriples => digit_triples(text, false, &mut emit),
        Step::DigitTriplesAtWordEnd => digit_triples(text, true, &mut emit),
    }
}

fn first_match<'t>(rules: &[Rule], text: &'t str, emit: &mut dyn FnMut(&'t str)) {
    let mut scan = Scan::new(text);
    let mut unmatched = 0;
    let mut at = 0;
    while let Some(c) = scan.char_at(at) {
        match rules.iter().find_map(|rule| scan.matches(rule, at)) {
            Some(end) => {
                emit(&text[unmatched..at]);
                emit(&text[at..end]);
                (unmatched, at) = (end, end);
            }
            None => at += c.len_utf8(),
        }
    }
    emit(&text[unmatched..]);
}

fn digit_triples<'t>(text: &'t str, at_word_end: bool, emit: &mut dyn FnMut(&'t str)) {
    let scan = Scan::new(text);
    let digits = Set::of(Classes::DECIMAL);
    let mut done = 0;
    let mut at = 0;
    while let Some(c) = scan.char_at(at) {
        if !digits.contains(c) {
            at += c.len_utf8();
            continue;
        }
        let end = scan.run_end(&digits, at, usize::MAX);
        if at_word_end && scan.char_at(end).is_some_and(is_word) {
            at = end;
            continue;
        }
        let count = text[at..end].chars().count();
        let mut group = at;
        let mut size = count % 3;
        if size != 0 && !at_word_end {
            // Digits too few for a triple stay with what precedes them.
            group = scan.run_end(&digits, at, size);
            size = 0;
        }
        while group < end {
            emit(&text[done..group]);
            done = group;
            group = scan.run_end(&digits, group, if size == 0 { 3 } else { size });
            size = 0;
        }
        if at_word_end {
            emit(&text[done..end]);
            done = end;
        }
        at = end;
    }
    emit(&text[done..]);
}

/// A text with the end of the whitespace last looked at, so that rules that
/// look ahead over whitespace do not pass over it again at every character.
struct Scan<'t> {
    text: &'t str,
    whitespace: Whitespace,
}

/// A run of whitespace, from a place already passed to `end`.
#[derive(Clone, Copy, Default)]
struct Whitespace {
    end: usize,
    /// Where the last `\r` or `\n` in the run ends, 0 if it has none.
    line_end: usize,
}

impl<'t> Scan<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            whitespace: Whitespace::default(),
        }
    }

    fn char_at(&self, at: usize) -> Option<char> {
        match *self.text.as_bytes().get(at)? {
            byte @ ..0x80 => Some(byte.into()),
            _ => self.text[at..].chars().next(),
        }
    }

    fn has(&self, set: &Set, at: usize) -> Option<usize> {
        let c = self.char_at(at)?;
        set.contains(c).then(|| at + c.len_utf8())
    }

    /// Where `set{0,max}` from `at` ends.
    fn run_end(&self, set: &Set, mut at: usize, max: usize) -> usize {
        for _ in 0..max {
            match self.has(set, at) {
                Some(next) => at = next,
                None => break,
            }
        }
        at
    }

    fn matches(&mut self, rule: &Rule, at: usize) -> Option<usize> {
        match rule {
            Rule::Contraction { any_case } => self.contraction(at, *any_case),
            Rule::Run(run) => self.run(run, at),
            Rule::Cased(cased) => self.cased(cased, at),
            Rule::ThreeDigits => {
                let digits = self.text.as_bytes().get(at..at + 3)?;
                digits.iter().all(u8::is_ascii_digit).then_some(at + 3)
            }
            Rule::Phrase => self.phrase(at),
            Rule::LineEnds => {
                let end = self.whitespace_from(at).line_end;
                (end > at).then_some(end)
            }
            Rule::SpacesBeforeLast => {
                let end = self.whitespace_from(at).end;
                let last = if end == self.text.len() {
                    end
                } else {
                    self.text[at..end]
                        .char_indices()
                        .next_back()
                        .map_or(at, |(last, _)| at + last)
                };
                (last > at).then_some(last)
            }
            Rule::SpaceCascade => self.space_cascade(at),
        }
    }

    fn whitespace_from(&mut self, at: usize) -> Whitespace {
        if at < self.whitespace.end {
            return self.whitespace;
        }
        let mut found = Whitespace {
            end: at,
            line_end: 0,
        };
        while let Some(c) = self.char_at(found.end) {
            if !Classes::WHITESPACE.contains(c) {
                break;
            }
            found.end += c.len_utf8();
            if matches!(c, '\r' | '\n') {
                found.line_end = found.end;
            }
        }
        self.whitespace = found;
        found
    }

    fn contraction(&self, at: usize, any_case: bool) -> Option<usize> {
        if self.char_at(at)? != '\'' {
            return None;
        }
        let fold = |c: char| match c {
            // Case-insensitive matching folds the long s to s.
            'ſ' if any_case => 's',
            c if any_case => c.to_ascii_lowercase(),
            c => c,
        };
        let first = self.char_at(at + 1)?;
        let end = at + 1 + first.len_utf8();
        match (fold(first), self.char_at(end).map(fold)) {
            ('s' | 't' | 'm' | 'd', _) => Some(end),
            ('r' | 'v', Some('e')) | ('l', Some('l')) => Some(end + 1),
            _ => None,
        }
    }

    fn run(&self, run: &Run, at: usize) -> Option<usize> {
        let lead = match &run.lead {
            Lead::None => Some(at),
            Lead::Maybe(set) => self
                .has(set, at)
                .filter(|&next| self.has(&run.body, next).is_some())
                .or(Some(at)),
            Lead::Needed(set) => self.has(set, at),
        }?;
        let end = self.run_end(&run.body, lead, run.body_max);
        (end > lead).then(|| self.run_end(&run.tail, end, run.tail_max))
    }

    fn cased(&self, cased: &Cased, at: usize) -> Option<usize> {
        let led = self.has(&WORD_LEAD, at);
        let starts = [led, Some(at)];
        let end = starts
            .iter()
            .flatten()
            .find_map(|&start| self.upper_then_lower(cased, start))
            .or_else(|| {
                // What is left is `upper+`: a lower-case letter after it would have matched.
                starts.iter().flatten().find_map(|&start| {
                    let end = self.run_end(&cased.upper, start, usize::MAX);
                    (end > start).then_some(end)
                })
            })?;
        if cased.contraction {
            Some(self.contraction(end, true).unwrap_or(end))
        } else {
            Some(end)
        }
    }

    /// `upper*lower+`, where the sets overlap.
    fn upper_then_lower(&self, cased: &Cased, start: usize) -> Option<usize> {
        let upper_end = self.run_end(&cased.upper, start, usize::MAX);
        if self.has(&cased.lower, upper_end).is_some() {
            return Some(self.run_end(&cased.lower, upper_end, usize::MAX));
        }
        // Giving back capitals until one of them counts as lower-case too.
        self.text[start..upper_end]
            .char_indices()
            .rev()
            .find(|&(_, c)| cased.lower.contains(c))
            .map(|(last, c)| start + last + c.len_utf8())
    }

    fn phrase(&self, at: usize) -> Option<usize> {
        const LETTER: Set = Set::of(Classes::LETTER);
        const MARK: Set = Set::of(Classes::MARK);
        let mut end = self
            .has(&WORD_LEAD, at)
            .filter(|&next| self.has(&LETTER, next).is_some())
            .unwrap_or(at);
        let start = end;
        loop {
            let spaced = match self.char_at(end) {
                Some(' ') if end > start => end + 1,
                _ => end,
            };
            let Some(letter) = self.has(&LETTER, spaced) else {
                break;
            };
            end = self.run_end(&MARK, letter, usize::MAX);
        }
        (end > start).then_some(end)
    }

    fn space_cascade(&mut self, at: usize) -> Option<usize> {
        let run_end = self.whitespace_from(at).end;
        let at_text_end = run_end == self.text.len();
        // A count is followed by whitespace or the text's end, not by `\S`.
        let fits = |count: usize| {
            let end = self.run_end(&Set::of(Classes::WHITESPACE), at, count);
            let whole = self.text[at..end].chars().take(count).count() == count;
            (whole && (end < run_end || at_text_end)).then_some(end)
        };
        [512, 256, 128, 64, 32, 16, 8, 4, 2, 1]
            .into_iter()
            .find_map(fits)
            .or_else(|| self.has(&Set::of(Classes::WHITESPACE), at))
    }
}
