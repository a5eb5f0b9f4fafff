//! A generation of which a node computes some layers, as the node sees it.

use crate::wire::{Refused, StatesHeader};
use std::collections::VecDeque;

/// How far the layers have come, and the steps that wait for them. `T` is what
/// comes with a step.
///
/// Invariants:
/// 1. `waiting` begins where what was computed ends, without gaps, and all of
///    it is of `epoch`.
/// 2. What is computed or waits is within the context.
/// 3. Within an epoch on one stream a place names a step; what comes twice
///    does nothing, so that no position is computed twice in a row.
#[derive(Debug)]
pub struct StageSession<T> {
    epoch: u32,
    len: u32,
    /// Columns of the first step that are computed.
    done: u16,
    waiting: VecDeque<(StatesHeader, T)>,
    /// Whether nothing has come since the edge is back: it may then repeat a
    /// step whose answer was lost.
    fresh: bool,
    context: u32,
}

/// What becomes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was late, and is dropped.
    Late,
    /// It waits. The layers are to be cut to so many positions first, if any
    /// are said; where that cannot be, [`StageSession::lost`] is to be called.
    Waits {
        /// The length to cut to.
        cut: Option<u32>,
    },
}

impl<T> StageSession<T> {
    /// A generation of up to `context` positions of which nothing is computed.
    pub fn new(context: u32) -> Self {
        Self {
            epoch: 0,
            len: 0,
            done: 0,
            waiting: VecDeque::new(),
            fresh: true,
            context,
        }
    }

    /// The newest epoch.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Positions computed.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether nothing is computed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The edge is back on another stream.
    pub fn reopen(&mut self) {
        self.give_up();
        self.fresh = true;
    }

    /// Takes in a step.
    pub fn take(&mut self, header: StatesHeader, with: T) -> Result<Taken, Refused> {
        if header.epoch < self.epoch {
            return Ok(Taken::Late);
        }
        let begins = header.epoch > self.epoch || self.fresh;
        let next = match self.waiting.back() {
            Some((last, _)) if !begins => last.end(),
            _ => self.len,
        };
        if header.position < next && !begins {
            return Ok(Taken::Late);
        }
        if header.position > next {
            let what = "states behind the end of those before".into();
            return Err(Refused::Protocol { what });
        }
        // `end` stops at the last number, which no context reaches.
        if header.end() > self.context {
            return Err(Refused::Context { max: self.context });
        }
        let mut cut = None;
        if begins {
            self.give_up();
            self.epoch = header.epoch;
            self.fresh = false;
            cut = (header.position < self.len).then_some(header.position);
            self.len = header.position;
        }
        self.waiting.push_back((header, with));
        Ok(Taken::Waits { cut })
    }

    /// What is to be computed next: the header of the columns that are left of
    /// the first step, how many of it are computed, and what came with it.
    pub fn next(&self) -> Option<(StatesHeader, u16, &T)> {
        let (header, with) = self.waiting.front()?;
        let left = StatesHeader {
            position: self.len,
            columns: header.columns - self.done,
            ..*header
        };
        Some((left, self.done, with))
    }

    /// Counts columns of the first step as computed, of as many as are left.
    pub fn computed(&mut self, columns: u16) {
        let Some((header, _)) = self.waiting.front() else {
            return;
        };
        let columns = columns.min(header.columns - self.done);
        self.len += u32::from(columns);
        self.done += columns;
        if self.done == header.columns {
            self.done = 0;
            self.waiting.pop_front();
        }
    }

    /// Drops the steps that wait, after an error.
    pub fn give_up(&mut self) {
        self.waiting.clear();
        self.done = 0;
    }

    /// The layers have no more than `len` positions left.
    pub fn lost(&mut self, len: u32) {
        self.give_up();
        self.len = self.len.min(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_runtime::transcript::Class;
    use proptest::prelude::*;

    const CONTEXT: u32 = 32;

    fn step(epoch: u32, position: u32, columns: u16) -> StatesHeader {
        StatesHeader {
            epoch,
            position,
            columns,
            class: Class::Generated,
            took_us: 0,
            sharing: 0,
        }
    }

    fn compute(session: &mut StageSession<u32>, columns: u16) -> Option<(u32, u32)> {
        let (header, _, &with) = session.next()?;
        session.computed(columns);
        Some((header.position, with))
    }

    #[test]
    fn what_comes_twice_does_nothing_but_behind_a_reconnect() {
        let mut session = StageSession::new(CONTEXT);
        let waits = |cut| Ok(Taken::Waits { cut });
        assert_eq!(session.take(step(0, 0, 3), 1), waits(None));
        assert_eq!(session.take(step(0, 0, 3), 2), Ok(Taken::Late));
        assert_eq!(session.take(step(0, 3, 1), 3), waits(None));
        assert_eq!(compute(&mut session, 2), Some((0, 1)));
        assert_eq!(compute(&mut session, 2), Some((2, 1)));
        assert_eq!(compute(&mut session, 1), Some((3, 3)));
        assert_eq!(session.take(step(0, 3, 1), 4), Ok(Taken::Late));
        assert_eq!((session.len(), compute(&mut session, 1)), (4, None));
        session.reopen();
        assert_eq!(session.take(step(0, 3, 1), 5), waits(Some(3)));
        assert_eq!(compute(&mut session, 1), Some((3, 5)));
        assert_eq!(session.len(), 4);
    }

    #[test]
    fn gaps_and_what_is_beyond_the_context_are_refused() {
        let mut session = StageSession::new(CONTEXT);
        let gap = session.take(step(0, 1, 1), 0);
        assert!(matches!(gap, Err(Refused::Protocol { .. })), "{gap:?}");
        let far = session.take(step(9, u32::MAX, 128), 0);
        assert!(matches!(far, Err(Refused::Protocol { .. })), "{far:?}");
        let long = session.take(step(0, 0, 33), 0);
        assert_eq!(long, Err(Refused::Context { max: CONTEXT }));
        assert!(session.take(step(0, 0, 32), 0).is_ok());
    }

    proptest! {
        /// Whatever comes, each position is computed of the step that was
        /// taken for it last, and positions go up by one.
        #[test]
        fn positions_are_computed_once_and_in_order(
            moves in prop::collection::vec(
                (0..6_u8, 0..4_u32, 0..40_u32, 1..9_u16), 0..80
            ),
        ) {
            let mut session = StageSession::new(CONTEXT);
            let mut computed: Vec<u32> = Vec::new();
            for (index, (kind, epoch, position, columns)) in moves.into_iter().enumerate() {
                match kind {
                    0 => session.reopen(),
                    1 | 2 => if let Some((header, done, &with)) = session.next() {
                        prop_assert_eq!(header.position as usize, computed.len());
                        let now = columns.min(header.columns);
                        prop_assert!(u32::from(done + header.columns) <= CONTEXT);
                        computed.extend((0..now).map(|_| with));
                        session.computed(columns);
                    },
                    _ => {
                        let before = session.len();
                        match session.take(step(epoch, position, columns), index as u32) {
                            Ok(Taken::Waits { cut: Some(cut) }) => {
                                prop_assert!(cut < before);
                                computed.truncate(cut as usize);
                            }
                            _ => prop_assert_eq!(session.len(), before),
                        }
                    }
                }
                prop_assert_eq!(session.len() as usize, computed.len());
                prop_assert!(session.len() <= CONTEXT);
            }
        }
    }
}
