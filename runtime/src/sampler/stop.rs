//! Stop strings, found across the borders of tokens.

use super::error::ParamsError;

/// One stop string with its Knuth-Morris-Pratt automaton.
#[derive(Debug, Clone)]
struct Pattern {
    text: Box<[u8]>,
    /// For each length of a matched beginning, the longest shorter one that
    /// ends where it ends.
    shorter: Vec<usize>,
    /// Bytes of the pattern that the text so far ends with.
    matched: usize,
}

impl Pattern {
    fn new(text: &str) -> Self {
        let text: Box<[u8]> = text.as_bytes().into();
        let mut shorter = vec![0; text.len() + 1];
        let mut matched = 0;
        for end in 1..text.len() {
            while matched > 0 && text[matched] != text[end] {
                matched = shorter[matched];
            }
            matched += usize::from(text[matched] == text[end]);
            shorter[end + 1] = matched;
        }
        Self {
            text,
            shorter,
            matched: 0,
        }
    }

    /// Whether the pattern ends at `byte`, the next of the text.
    fn advance(&mut self, byte: u8) -> bool {
        while self.matched > 0 && self.text[self.matched] != byte {
            self.matched = self.shorter[self.matched];
        }
        self.matched += usize::from(self.text[self.matched] == byte);
        self.matched == self.text.len()
    }
}

/// Looks for stop strings in a text that comes in pieces. What could still
/// become one is held back, less than the longest stop string; the rest goes
/// through at once. The result does not depend on how the text is cut: the
/// stop string that is complete first wins, of several that end together the
/// longest, and the text ends before it.
#[derive(Debug, Clone)]
pub struct StopStrings {
    patterns: Vec<Pattern>,
    held: String,
    found: Option<usize>,
}

impl StopStrings {
    /// Looks for any of `stops`, none of which is empty.
    pub fn new<S: AsRef<str>>(stops: &[S]) -> Result<Self, ParamsError> {
        if stops.iter().any(|stop| stop.as_ref().is_empty()) {
            return Err(ParamsError {
                field: "stop",
                value: "an empty text".into(),
                wanted: "texts of at least one byte",
            });
        }
        Ok(Self {
            patterns: stops
                .iter()
                .map(|stop| Pattern::new(stop.as_ref()))
                .collect(),
            held: String::new(),
            found: None,
        })
    }

    /// Takes the next piece and appends to `out` what is certainly not part
    /// of a stop string. Returns the index of the stop string once one was
    /// found; what comes after it is dropped.
    pub fn push(&mut self, piece: &str, out: &mut String) -> Option<usize> {
        if self.found.is_some() {
            return self.found;
        }
        for (at, byte) in piece.bytes().enumerate() {
            let mut longest: Option<(usize, usize)> = None;
            for (index, pattern) in self.patterns.iter_mut().enumerate() {
                let length = pattern.text.len();
                if pattern.advance(byte) && longest.is_none_or(|(_, best)| length > best) {
                    longest = Some((index, length));
                }
            }
            if let Some((index, length)) = longest {
                self.release(&piece[..=at], length, out);
                self.held.clear();
                self.found = Some(index);
                return self.found;
            }
        }
        let open = self.patterns.iter().map(|pattern| pattern.matched).max();
        self.release(piece, open.unwrap_or(0), out);
        None
    }

    /// Appends what is held back: the text is over and holds no stop string.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
    }

    /// Appends what is held and `piece` to `out`, but for the last `keep`
    /// bytes, which are held from then on.
    fn release(&mut self, piece: &str, keep: usize, out: &mut String) {
        match piece.len().checked_sub(keep) {
            Some(end) => {
                out.push_str(&self.held);
                out.push_str(&piece[..end]);
                self.held.clear();
                self.held.push_str(&piece[end..]);
            }
            None => {
                let end = self.held.len() + piece.len() - keep;
                out.push_str(&self.held[..end]);
                self.held.drain(..end);
                self.held.push_str(piece);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first end of a stop string in `text`, the longest that ends there.
    fn naive(text: &str, stops: &[String]) -> Option<(usize, usize)> {
        (1..=text.len()).find_map(|end| {
            let ending = stops.iter().enumerate();
            let ending =
                ending.filter(|(_, stop)| text.as_bytes()[..end].ends_with(stop.as_bytes()));
            let longest =
                ending.max_by_key(|(index, stop)| (stop.len(), std::cmp::Reverse(*index)));
            longest.map(|(index, stop)| (index, end - stop.len()))
        })
    }

    proptest! {
        #[test]
        fn agrees_with_a_search_of_the_whole(
            pieces in prop::collection::vec("[abé🦙]{0,5}", 0..12),
            stops in prop::collection::vec("[abé🦙]{1,5}", 0..4),
        ) {
            let text = pieces.concat();
            let mut stream = StopStrings::new(&stops).unwrap();
            let (mut out, mut found) = (String::new(), None);
            let longest = stops.iter().map(String::len).max().unwrap_or(1);
            for piece in &pieces {
                found = stream.push(piece, &mut out);
                prop_assert!(stream.held.len() < longest);
                prop_assert!(text.starts_with(&out));
            }
            stream.finish(&mut out);
            match naive(&text, &stops) {
                Some((index, end)) => {
                    prop_assert_eq!(found, Some(index));
                    prop_assert_eq!(&out, &text[..end]);
                }
                None => {
                    prop_assert_eq!(found, None);
                    prop_assert_eq!(out, text);
                }
            }
        }
    }

    #[test]
    fn only_what_may_become_a_stop_string_is_held() {
        let mut stream = StopStrings::new(&["</s>", "\n\nUser"]).unwrap();
        let mut out = String::new();
        assert_eq!(stream.push("one <", &mut out), None);
        assert_eq!(out, "one ");
        assert_eq!(stream.push("b> two\n", &mut out), None);
        assert_eq!(out, "one <b> two");
        assert_eq!(stream.push("\nUs", &mut out), None);
        assert_eq!(stream.push("er: three", &mut out), Some(1));
        assert_eq!(stream.push("four", &mut out), Some(1));
        stream.finish(&mut out);
        assert_eq!(out, "one <b> two");
        assert!(StopStrings::new(&[""]).is_err());
    }
}
