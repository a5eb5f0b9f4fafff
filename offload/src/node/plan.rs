//! Which sessions take part in the next pass, and with how many columns.

/// A session that wants something of the next pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ready {
    /// Its place among the sessions.
    pub(super) index: usize,
    /// Columns that its client has had so far.
    pub(super) served: u64,
    /// Positions to compute before a token comes, at least 1.
    pub(super) behind: u32,
    /// Guesses to verify.
    pub(super) guesses: usize,
}

/// A session's columns in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) index: usize,
    pub(super) columns: usize,
    pub(super) guesses: usize,
}

/// What a pass holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Columns in all.
    pub(super) columns: usize,
    /// Prompt columns where others wait.
    pub(super) prompt_columns: usize,
}

/// Behind by more than this, a session reads a prompt and does not decode.
const DECODING: u32 = 8;

/// Shares a pass out. Who decodes comes first, each with its guesses as far as
/// there is room. Those who read prompts take what is left, the one whose
/// client has had least before the others, but together no more than
/// `prompt_columns` where somebody decodes.
pub(super) fn share(ready: &mut [Ready], room: Room, out: &mut Vec<Share>) {
    out.clear();
    ready.sort_by_key(|session| (session.served, session.index));
    let mut left = room.columns;
    let decoding = ready.iter().filter(|session| session.behind <= DECODING);
    // A column each before anybody's guesses.
    let mut reserved: usize = decoding.clone().map(|s| s.behind as usize).sum();
    for session in decoding {
        let behind = session.behind as usize;
        reserved -= behind;
        if left == 0 {
            break;
        }
        if behind > left {
            out.push(Share {
                index: session.index,
                columns: left,
                guesses: 0,
            });
            left = 0;
            break;
        }
        let guesses = session.guesses.min(left.saturating_sub(behind + reserved));
        left -= behind + guesses;
        out.push(Share {
            index: session.index,
            columns: behind,
            guesses,
        });
    }
    let mut left = match out.is_empty() {
        true => left,
        false => left.min(room.prompt_columns),
    };
    for session in ready.iter().filter(|session| session.behind > DECODING) {
        if left == 0 {
            break;
        }
        let columns = left.min(session.behind as usize);
        left -= columns;
        out.push(Share {
            index: session.index,
            columns,
            // Guesses behind a prompt wait for its end.
            guesses: 0,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ready(index: usize, served: u64, behind: u32, guesses: usize) -> Ready {
        Ready {
            index,
            served,
            behind,
            guesses,
        }
    }

    const ROOM: Room = Room {
        columns: 16,
        prompt_columns: 4,
    };

    fn shares(mut sessions: Vec<Ready>) -> Vec<(usize, usize, usize)> {
        let mut out = Vec::new();
        share(&mut sessions, ROOM, &mut out);
        out.iter()
            .map(|s| (s.index, s.columns, s.guesses))
            .collect()
    }

    #[test]
    fn a_prompt_alone_takes_the_whole_pass() {
        assert_eq!(shares(vec![ready(0, 0, 100, 3)]), [(0, 16, 0)]);
    }

    #[test]
    fn prompts_hold_up_those_who_decode_by_little() {
        let got = shares(vec![
            ready(0, 9, 1, 2),
            ready(1, 5, 100, 0),
            ready(2, 1, 50, 0),
        ]);
        assert_eq!(got, [(0, 1, 2), (2, 4, 0)]);
    }

    #[test]
    fn short_prompts_are_read_together() {
        let got = shares(vec![
            ready(0, 2, 9, 0),
            ready(1, 0, 10, 1),
            ready(2, 1, 9, 0),
        ]);
        assert_eq!(got, [(1, 10, 0), (2, 6, 0)]);
    }

    #[test]
    fn who_is_behind_by_more_than_a_pass_holds_goes_on_in_parts() {
        let mut sessions = [ready(0, 0, 7, 3)];
        let room = Room {
            columns: 4,
            prompt_columns: 4,
        };
        let mut out = Vec::new();
        share(&mut sessions, room, &mut out);
        let got: Vec<_> = out.iter().map(|s| (s.columns, s.guesses)).collect();
        assert_eq!(got, [(4, 0)]);
    }

    #[test]
    fn guesses_wait_for_everybodys_token() {
        let many: Vec<_> = (0..14).map(|i| ready(i, i as u64, 1, 8)).collect();
        let got = shares(many);
        assert_eq!(got.len(), 14);
        assert_eq!(got[0], (0, 1, 2));
        assert!(
            got[1..]
                .iter()
                .all(|&(_, columns, guesses)| (columns, guesses) == (1, 0))
        );
    }

    proptest! {
        #[test]
        fn a_pass_is_never_overfull_and_never_empty(
            sessions in prop::collection::vec((0..9_u64, 1..40_u32, 0..9_usize), 1..20),
        ) {
            let mut sessions: Vec<_> = sessions
                .iter()
                .enumerate()
                .map(|(i, &(served, behind, guesses))| ready(i, served, behind, guesses))
                .collect();
            let mut out = Vec::new();
            share(&mut sessions, ROOM, &mut out);
            prop_assert!(!out.is_empty());
            let columns: usize = out.iter().map(|s| s.columns + s.guesses).sum();
            prop_assert!(columns <= ROOM.columns);
            prop_assert!(out.iter().all(|s| s.columns > 0));
        }
    }
}
