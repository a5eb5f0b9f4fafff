//! What is measured.

use outrigger_runtime::kv::KvFormat;
use std::fmt;

/// One test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Test {
    /// Threads that compute.
    pub(super) threads: usize,
    /// How keys and values are cached.
    pub(super) kv: KvFormat,
    /// Positions that are in the cache before.
    pub(super) depth: usize,
    /// What is timed.
    pub(super) work: Work,
}

/// What is timed in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// A prompt of so many tokens.
    Prompt(usize),
    /// Tokens generated one after the other.
    Generate {
        /// Tokens of each sequence.
        tokens: usize,
        /// Sequences decoded at once in each step.
        columns: usize,
    },
}

impl Test {
    /// Tokens that are timed, those of all sequences.
    pub(super) fn tokens(&self) -> usize {
        match self.work {
            Work::Prompt(tokens) => tokens,
            Work::Generate { tokens, columns } => tokens * columns,
        }
    }

    /// Sequences that the cache holds.
    pub(super) fn sequences(&self) -> usize {
        match self.work {
            Work::Prompt(_) => 1,
            Work::Generate { columns, .. } => columns,
        }
    }

    /// Positions that a sequence has at the end.
    pub(super) fn positions(&self) -> usize {
        let (Work::Prompt(tokens) | Work::Generate { tokens, .. }) = self.work;
        self.depth + tokens
    }
}

/// The name as llama-bench prints it, with `b8` for eight sequences (the `B`
/// of llama-batched-bench).
impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut at = Vec::new();
        if self.depth > 0 {
            at.push(format!("d{}", self.depth));
        }
        match self.work {
            Work::Prompt(tokens) => write!(f, "pp{tokens}")?,
            Work::Generate { tokens, columns } => {
                write!(f, "tg{tokens}")?;
                if columns > 1 {
                    at.push(format!("b{columns}"));
                }
            }
        }
        if at.is_empty() {
            return Ok(());
        }
        write!(f, " @ {}", at.join(" "))
    }
}

/// The lists that were given, of which every combination is a test.
#[derive(Debug)]
pub(super) struct Grid<'a> {
    pub(super) kv: &'a [KvFormat],
    pub(super) depths: &'a [usize],
    pub(super) threads: &'a [usize],
    pub(super) prompts: &'a [usize],
    pub(super) generations: &'a [usize],
    pub(super) columns: &'a [usize],
}

impl Grid<'_> {
    /// The tests in llama-bench's order. A prompt or a generation of no tokens
    /// is none.
    pub(super) fn tests(&self) -> Vec<Test> {
        let mut works: Vec<Work> = self.prompts.iter().copied().map(Work::Prompt).collect();
        for &tokens in self.generations {
            let generate = |&columns: &usize| Work::Generate { tokens, columns };
            works.extend(self.columns.iter().map(generate));
        }
        let mut tests = Vec::new();
        for &kv in self.kv {
            for &depth in self.depths {
                for &threads in self.threads {
                    tests.extend(works.iter().map(|&work| Test {
                        threads,
                        kv,
                        depth,
                        work,
                    }));
                }
            }
        }
        tests.retain(|test| test.tokens() > 0);
        tests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_is_a_test_with_a_name_of_its_own() {
        let grid = Grid {
            kv: &[KvFormat::F16],
            depths: &[0, 4096],
            threads: &[2],
            prompts: &[512, 0],
            generations: &[128],
            columns: &[1, 8],
        };
        let names: Vec<String> = grid.tests().iter().map(Test::to_string).collect();
        let wanted = [
            "pp512",
            "tg128",
            "tg128 @ b8",
            "pp512 @ d4096",
            "tg128 @ d4096",
            "tg128 @ d4096 b8",
        ];
        assert_eq!(names, wanted);
        let last = grid.tests()[5];
        assert_eq!(
            (last.tokens(), last.sequences(), last.positions()),
            (1024, 8, 4224)
        );
    }
}
