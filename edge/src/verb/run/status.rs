//! A line on a terminal's stderr that says how a generation is going.

use ::console::{Term, measure_text_width};
use std::{
    env, fmt,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The line says something new no more often than this.
const INTERVAL: Duration = Duration::from_millis(200);
const TAB: usize = 8;

/// A status line, and where the text stands that it must not touch.
///
/// Where text and status share a terminal, the status is drawn in the row below
/// the text, and gone before more text is written.
#[derive(Clone)]
pub(super) struct StatusLine(Arc<Mutex<State>>);

struct State {
    terminal: Terminal,
    /// Where the text's next character goes.
    column: usize,
    shown: bool,
    line: String,
    told: Option<Instant>,
}

/// What can be drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Terminal {
    /// Nothing.
    None,
    /// A terminal that text goes to as well; `draws` where it does as it is
    /// told.
    Shared { draws: bool },
    /// A terminal for this alone.
    Own,
}

impl Terminal {
    fn found() -> Self {
        if !io::stderr().is_terminal() {
            return Self::None;
        }
        let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_none_or(|term| term == "dumb");
        match (io::stdout().is_terminal(), plain) {
            (true, plain) => Self::Shared { draws: !plain },
            (false, true) => Self::None,
            (false, false) => Self::Own,
        }
    }
}

impl StatusLine {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State::new(Terminal::found()))))
    }

    /// Takes the line away, so that text can be written.
    pub(super) fn clear(&self) {
        self.with(|state| {
            let _ = state.clear(&mut io::stderr());
        });
    }

    /// Takes in text that was written to stdout.
    pub(super) fn wrote(&self, text: &str) {
        self.with(|state| state.wrote(text, width()));
    }

    /// Takes in that the text has ended, and its row with it.
    pub(super) fn ended(&self) {
        self.with(|state| state.column = 0);
    }

    /// Draws the line; `line` is asked for a new one from time to time.
    pub(super) fn draw(&self, line: impl FnOnce() -> String) {
        self.with(|state| {
            if state.is_due() {
                state.line = line();
            }
            // A terminal that is gone ends no work.
            let _ = state.draw(&mut io::stderr(), width());
        });
    }

    /// Says something in a line of its own. A stderr that was closed ends no
    /// work.
    pub(super) fn say(&self, line: fmt::Arguments<'_>) {
        self.with(|state| {
            let _ = state.say(&mut io::stderr(), line);
        });
    }

    fn with(&self, act: impl FnOnce(&mut State)) {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Columns of the terminal.
fn width() -> usize {
    let (_, width) = Term::stderr().size();
    usize::from(width).max(1)
}

impl State {
    fn new(terminal: Terminal) -> Self {
        Self {
            terminal,
            column: 0,
            shown: false,
            line: String::new(),
            told: None,
        }
    }

    fn is_due(&mut self) -> bool {
        let draws = matches!(
            self.terminal,
            Terminal::Own | Terminal::Shared { draws: true }
        );
        let old = self.told.is_none_or(|told| told.elapsed() >= INTERVAL);
        if draws && old {
            self.told = Some(Instant::now());
        }
        draws && old
    }

    fn clear(&mut self, out: &mut impl Write) -> io::Result<()> {
        if !std::mem::take(&mut self.shown) {
            return Ok(());
        }
        match self.terminal {
            // All behind the text; the line is the only thing there.
            Terminal::Shared { .. } => out.write_all(b"\x1b[J")?,
            Terminal::Own => out.write_all(b"\r\x1b[K")?,
            Terminal::None => {}
        }
        out.flush()
    }

    fn draw(&mut self, out: &mut impl Write, width: usize) -> io::Result<()> {
        if self.line.is_empty() {
            return Ok(());
        }
        // The last column stays free, where some terminals wrap.
        let line = start(&self.line, width - 1);
        match self.terminal {
            // Behind a full row the place of the text cannot be restored.
            Terminal::Shared { draws: true } if self.column < width => {
                // Down and up again makes sure that there is a row below, so
                // that the place that is saved does not scroll away.
                write!(
                    out,
                    "\x1bD\x1b[1A\x1b7\x1b[1B\r\x1b[2m{line}\x1b[0m\x1b[K\x1b8"
                )?;
            }
            Terminal::Own => write!(out, "\r\x1b[2m{line}\x1b[0m\x1b[K")?,
            Terminal::Shared { .. } | Terminal::None => return Ok(()),
        }
        self.shown = true;
        out.flush()
    }

    fn say(&mut self, out: &mut impl Write, line: fmt::Arguments<'_>) -> io::Result<()> {
        self.clear(out)?;
        if std::mem::take(&mut self.column) > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{line}")
    }

    fn wrote(&mut self, text: &str, width: usize) {
        if !matches!(self.terminal, Terminal::Shared { .. }) {
            return;
        }
        for char in text.chars() {
            let wide = match char {
                '\n' | '\r' => {
                    self.column = 0;
                    continue;
                }
                '\t' => (TAB - self.column % TAB).min((width - 1).saturating_sub(self.column)),
                _ => columns_of(char),
            };
            // What does not fit begins the next row.
            self.column = match self.column + wide {
                end if end > width => wide,
                end => end,
            };
        }
    }
}

/// Columns that a character takes.
fn columns_of(char: char) -> usize {
    measure_text_width(char.encode_utf8(&mut [0; 4]))
}

/// As much of a line as fits.
fn start(line: &str, width: usize) -> &str {
    let mut columns = 0;
    let end = line.char_indices().find(|(_, char)| {
        columns += columns_of(*char);
        columns > width
    });
    end.map_or(line, |(at, _)| &line[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(terminal: Terminal) -> State {
        State {
            line: "stream:cloud, 41 ms away".into(),
            ..State::new(terminal)
        }
    }

    /// A code that a terminal acts on, and how.
    type Code = (&'static str, fn(&mut Screen));

    /// As much of a terminal as the codes that are written here take.
    struct Screen {
        rows: Vec<Vec<char>>,
        at: (usize, usize),
        saved: (usize, usize),
    }

    impl Screen {
        const WIDTH: usize = 30;
        const HEIGHT: usize = 4;

        fn new() -> Self {
            Self {
                rows: vec![vec![' '; Self::WIDTH]; Self::HEIGHT],
                at: (0, 0),
                saved: (0, 0),
            }
        }

        fn down(&mut self) {
            if self.at.0 + 1 == Self::HEIGHT {
                self.rows.remove(0);
                self.rows.push(vec![' '; Self::WIDTH]);
            } else {
                self.at.0 += 1;
            }
        }

        fn print(&mut self, bytes: &[u8]) {
            let mut rest = std::str::from_utf8(bytes).unwrap();
            'next: while let Some(char) = rest.chars().next() {
                for (code, act) in Self::CODES {
                    if let Some(after) = rest.strip_prefix(code) {
                        act(self);
                        rest = after;
                        continue 'next;
                    }
                }
                rest = &rest[char.len_utf8()..];
                match char {
                    '\r' => self.at.1 = 0,
                    '\n' => {
                        self.down();
                        self.at.1 = 0;
                    }
                    _ => {
                        if self.at.1 == Self::WIDTH {
                            self.down();
                            self.at.1 = 0;
                        }
                        self.rows[self.at.0][self.at.1] = char;
                        self.at.1 += 1;
                    }
                }
            }
        }

        const CODES: [Code; 9] = [
            ("\x1bD", Self::down),
            ("\x1b[1A", |s| s.at.0 -= 1),
            ("\x1b[1B", |s| {
                s.at.0 = (s.at.0 + 1).min(Self::HEIGHT - 1);
            }),
            ("\x1b7", |s| s.saved = s.at),
            ("\x1b8", |s| s.at = s.saved),
            ("\x1b[2m", |_| ()),
            ("\x1b[0m", |_| ()),
            ("\x1b[K", |s| s.rows[s.at.0][s.at.1..].fill(' ')),
            ("\x1b[J", |s| {
                s.rows[s.at.0][s.at.1..].fill(' ');
                s.rows[s.at.0 + 1..]
                    .iter_mut()
                    .for_each(|row| row.fill(' '));
            }),
        ];

        fn text(&self) -> Vec<String> {
            let rows = self.rows.iter().map(|row| row.iter().collect::<String>());
            rows.map(|row| row.trim_end().to_owned()).collect()
        }
    }

    #[test]
    fn a_shared_terminal_shows_the_text_as_if_it_were_alone() {
        let text = "Once upon a time there was a terminal of thirty columns.\nIt was shared,\nand \
                    its rows were few, and it scrolled all the time, and nobody saw that.";
        let (mut alone, mut shared) = (Screen::new(), Screen::new());
        let mut state = state(Terminal::Shared { draws: true });
        let mut drawn = 0;
        for char in text.chars() {
            let piece = char.to_string();
            alone.print(piece.as_bytes());
            let mut out = Vec::new();
            state.clear(&mut out).unwrap();
            out.extend(piece.as_bytes());
            state.wrote(&piece, Screen::WIDTH);
            state.draw(&mut out, Screen::WIDTH).unwrap();
            shared.print(&out);
            if state.shown {
                drawn += 1;
                let below = &shared.text()[shared.at.0 + 1];
                assert_eq!(below, "stream:cloud, 41 ms away", "{:?}", shared.text());
            }
        }
        assert!(drawn > 100, "{drawn}");
        let mut out = Vec::new();
        state.clear(&mut out).unwrap();
        shared.print(&out);
        // The row that the status needed may have scrolled one row away.
        let (alone, shared) = (alone.text(), shared.text());
        let last = |rows: &[String]| -> Vec<String> {
            let rows = rows.iter().filter(|row| !row.is_empty());
            rows.rev().take(3).cloned().collect()
        };
        assert_eq!(last(&alone), last(&shared));
    }

    #[test]
    fn lines_that_are_said_stand_alone() {
        let mut out = Vec::new();
        let mut shared = state(Terminal::Shared { draws: true });
        shared.wrote("Once", 80);
        shared.draw(&mut out, 80).unwrap();
        shared.say(&mut out, format_args!("gone")).unwrap();
        assert!(out.ends_with(b"\x1b[J\ngone\n"));
        shared.say(&mut out, format_args!("back")).unwrap();
        assert!(out.ends_with(b"\ngone\nback\n"));
    }

    #[test]
    fn nothing_is_drawn_where_there_is_no_terminal() {
        let mut out = Vec::new();
        for terminal in [Terminal::None, Terminal::Shared { draws: false }] {
            let mut state = state(terminal);
            assert!(!state.is_due());
            state.wrote("Once", 80);
            state.draw(&mut out, 80).unwrap();
            state.clear(&mut out).unwrap();
        }
        assert!(out.is_empty());
        let mut own = state(Terminal::Own);
        own.draw(&mut out, 10).unwrap();
        assert_eq!(out, b"\r\x1b[2mstream:cl\x1b[0m\x1b[K");
    }
}
