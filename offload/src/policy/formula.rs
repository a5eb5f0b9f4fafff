//! The arithmetic of the modes, on plain numbers of milliseconds.

/// The delay that a peer may put on an acknowledgement: not the 25 ms of RFC
/// 9000, 18.2, but what links ask for ([`LinkConfig::ack_delay_ms_max`]).
///
/// [`LinkConfig::ack_delay_ms_max`]: crate::transport::LinkConfig::ack_delay_ms_max
const ACK_DELAY_MS: f64 = 5.0;
/// Losses beyond this are computed as this: the link is as good as dead.
const LOSS_MAX: f64 = 0.9;
/// Rates beyond this are computed as this, so that runs stay finite.
const RATE_MAX: f64 = 0.995;
/// Drafts in a row that are looked at.
const RUN_MAX: u32 = 4096;

/// What loss adds to a round trip on average, in milliseconds. After a probe
/// timeout (RFC 9002, 6.2.1) quinn asks with an empty packet what has come, and
/// sends what was lost again when the answer is there, a round trip later; that
/// may be lost too. `loss` is each way's, from 0 to 1.
pub fn loss_ms(loss: f64, rtt_ms: f64, rtt_var_ms: f64) -> f64 {
    let loss = loss.clamp(0.0, LOSS_MAX);
    let round_trip = 1.0 - (1.0 - loss).powi(2);
    let timeout = rtt_ms + 4.0 * rtt_var_ms + ACK_DELAY_MS;
    round_trip * (timeout + rtt_ms) / (1.0 - round_trip)
}

/// The same of a packet with others behind it: what comes of those tells that
/// it was lost, by a time threshold of 9/8 of the round trip (RFC 9002, 6.1.2),
/// and no timeout is waited for.
pub fn loss_behind_ms(loss: f64, rtt_ms: f64) -> f64 {
    let loss = loss.clamp(0.0, LOSS_MAX);
    let round_trip = 1.0 - (1.0 - loss).powi(2);
    round_trip * rtt_ms * 9.0 / 8.0 / (1.0 - round_trip)
}

/// Time that bytes take on a link, in milliseconds.
pub fn transfer_ms(bytes: f64, mbit_s: f64) -> f64 {
    bytes * 8.0 / (mbit_s * 1e6) * 1e3
}

/// How far drafts are accepted, from the rate at each place of a draft.
#[derive(Debug, Clone)]
pub struct Acceptance {
    rates: Vec<f64>,
    last: f64,
}

impl Acceptance {
    /// Places that are looked at; further ones count as the last.
    const PLACES_MAX: usize = 64;

    /// From measured rates, each among the drafts accepted up to its place;
    /// `None` without any. What is not a rate counts as 0.
    pub fn new(rates: &[f32]) -> Option<Self> {
        let clean = |&rate: &f32| {
            let rate = f64::from(rate);
            if rate.is_nan() {
                0.0
            } else {
                rate.clamp(0.0, RATE_MAX)
            }
        };
        let rates: Vec<f64> = rates.iter().take(Self::PLACES_MAX).map(clean).collect();
        let last = *rates.last()?;
        Some(Self { rates, last })
    }

    /// Chance that the first `places` drafts are all accepted.
    pub fn reach(&self, places: u32) -> f64 {
        let measured = self.rates.iter().take(places as usize).product::<f64>();
        let beyond = (places as usize).saturating_sub(self.rates.len());
        measured * self.last.powi(i32::try_from(beyond).unwrap_or(i32::MAX))
    }

    /// Tokens that a verify pass over `drafts` drafts commits on average, E(k):
    /// those accepted and the one that follows them.
    pub fn committed(&self, drafts: u32) -> f64 {
        (0..=drafts).map(|places| self.reach(places)).sum()
    }

    /// Tokens from one rejection to the next when drafting never stops; it is
    /// 1/(1 - a) where the rate is the same at every place.
    pub fn run(&self) -> f64 {
        let places = self.rates.len() as u32;
        self.committed(places - 1) + self.reach(places) / (1.0 - self.last)
    }

    /// Windows of `drafts` drafts that are accepted whole before one is not, on
    /// average; a^k/(1 - a^k) where the rate is the same at every place.
    pub fn whole_windows(&self, drafts: u32) -> f64 {
        let drafts = drafts.max(1);
        let measured = self.rates.len() as u32 / drafts;
        let first: f64 = (1..=measured).map(|n| self.reach(n * drafts)).sum();
        let beyond = self.reach((measured + 1) * drafts);
        let shrink = self.last.powi(i32::try_from(drafts).unwrap_or(i32::MAX));
        first + beyond / (1.0 - shrink)
    }
}

/// Milliseconds per token where `drafts` are drafted, sent and verified, one
/// after the other, and `committed` tokens come of it.
pub fn sequential_ms(
    drafts: u32,
    draft_ms: f64,
    exchange_ms: f64,
    verify_ms: f64,
    committed: f64,
) -> f64 {
    (f64::from(drafts) * draft_ms + exchange_ms + verify_ms) / committed
}

/// The parts of a pipelined verify: windows of drafts go up one behind the
/// other, until one is rejected and drafting begins anew behind it.
#[derive(Debug, Clone, Copy)]
pub struct Pipeline {
    /// Drafts in a window.
    pub drafts: u32,
    /// Time to draft a window, in milliseconds.
    pub draft_ms: f64,
    /// Time from one window to the next: to draft or to verify it, whichever
    /// is longer, in milliseconds.
    pub step_ms: f64,
    /// Windows that are accepted whole before one is not.
    pub whole_windows: f64,
    /// Tokens from one rejection to the next.
    pub run: f64,
    /// Round trip, in milliseconds.
    pub exchange_ms: f64,
    /// Verify pass, in milliseconds.
    pub verify_ms: f64,
    /// Most tokens that may be under way.
    pub in_flight_max: u32,
}

impl Pipeline {
    /// Milliseconds per token: from one rejection to the next a window is
    /// drafted, sent and verified, each whole one before it adds a step, and
    /// `run` tokens come of it. Where drafting is the slower side, that is
    /// T_d + (1 - a)(R + T_v + f T_d) of the cost model.
    pub fn token_ms(&self) -> f64 {
        let late = self.exchange_ms + self.verify_ms;
        let between = self.draft_ms + late + self.whole_windows * self.step_ms;
        (between / self.run).max(late / f64::from(self.in_flight_max.max(1)))
    }

    /// The share of verified tokens that is thrown away, from 0 to 1: what was
    /// under way when a token was rejected.
    pub fn waste(&self) -> f64 {
        let token_ms = self.step_ms / f64::from(self.drafts.max(1));
        let under_way = (self.exchange_ms + self.verify_ms) / token_ms.max(1e-6);
        let under_way = under_way.min(f64::from(self.in_flight_max));
        under_way / (under_way + self.run)
    }
}

/// A pipelined verify whose node takes all the windows that have come into its
/// next pass. Where drafting is the faster side its passes grow, and a token
/// takes less than a window's share of a pass of one window.
#[derive(Debug, Clone, Copy)]
pub struct Gathering {
    /// Drafts in a window.
    pub drafts: u32,
    /// Time to draft a token, in milliseconds.
    pub draft_ms: f64,
    /// A verify pass of no columns and what each adds, in milliseconds.
    pub verify_ms: (f64, f64),
    /// Round trip without loss, in milliseconds.
    pub exchange_ms: f64,
    /// What loss adds to a round trip, in milliseconds. Any pass may be the one
    /// whose drafts or answer are lost, and all behind it wait.
    pub loss_ms: f64,
    /// Most tokens that may be under way.
    pub in_flight_max: u32,
}

impl Gathering {
    /// Chances below this are left out.
    const CHANCE_MIN: f64 = 1e-4;

    /// Milliseconds per token: passes follow one another, each over what was
    /// drafted meanwhile, until one holds a draft that is rejected; then a round
    /// trip goes by and drafting begins anew.
    pub fn token_ms(&self, acceptance: &Acceptance) -> f64 {
        let drafts = self.drafts.max(1);
        let window_ms = self.draft_ms * f64::from(drafts);
        let (mut free_at, mut verified, mut chance) = (0.0_f64, 0_u32, 1.0);
        let mut between = self.exchange_ms;
        while chance > Self::CHANCE_MIN && verified < RUN_MAX {
            let next = f64::from(verified / drafts + 1) * window_ms;
            let begins = free_at.max(next);
            let come = match window_ms > 0.0 {
                true => (begins / window_ms + 1e-9).floor() * f64::from(drafts),
                false => f64::INFINITY,
            };
            let most = f64::from(self.in_flight_max.max(drafts));
            let columns = (come - f64::from(verified)).min(most) as u32;
            // In whole windows, as they come.
            let columns = (columns / drafts).max(1) * drafts;
            let pass_ms = self.verify_ms.0 + self.verify_ms.1 * f64::from(columns + 1);
            // Time goes on to the end of this pass if all before was right.
            between += chance * (begins + pass_ms - free_at + self.loss_ms);
            free_at = begins + pass_ms;
            verified += columns;
            chance = acceptance.reach(verified);
        }
        let alone = self.verify_ms.0 + self.verify_ms.1 * f64::from(drafts + 1);
        let late = self.exchange_ms + self.loss_ms + alone;
        (between / acceptance.run()).max(late / f64::from(self.in_flight_max.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pipeline(
        acceptance: &Acceptance,
        drafts: u32,
        draft_ms: f64,
        verify_ms: f64,
        exchange_ms: f64,
    ) -> Pipeline {
        let draft_ms = draft_ms * f64::from(drafts);
        Pipeline {
            drafts,
            draft_ms,
            step_ms: verify_ms.max(draft_ms),
            whole_windows: acceptance.whole_windows(drafts),
            run: acceptance.run(),
            exchange_ms,
            verify_ms,
            in_flight_max: 1000,
        }
    }

    /// Milliseconds per token of an edge and a node that are stepped through.
    fn stepped(rates: &[f64], drafts: u32, draft_ms: f64, verify_ms: f64, rtt_ms: f64) -> f64 {
        let mut state = 1_u64;
        let mut accepts = |place: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let draw = (state >> 11) as f64 / (1_u64 << 53) as f64;
            draw < rates[place.min(rates.len() - 1)]
        };
        let (mut time, mut committed) = (0.0, 0);
        while committed < 200_000 {
            let begin = time;
            let mut node_free = begin;
            let mut place = 0;
            for window in 1.. {
                let sent = begin + f64::from(window * drafts) * draft_ms;
                node_free = node_free.max(sent + rtt_ms / 2.0) + verify_ms;
                let end = place + drafts as usize;
                while place < end && accepts(place) {
                    place += 1;
                }
                if place < end {
                    break;
                }
            }
            committed += place + 1;
            time = node_free + rtt_ms / 2.0;
        }
        time / committed as f64
    }

    #[test]
    fn a_pipeline_takes_the_time_of_its_steps() {
        for rates in [vec![0.5_f32], vec![0.9], vec![0.9, 0.7, 0.8, 0.4]] {
            let acceptance = Acceptance::new(&rates).unwrap();
            let exact: Vec<f64> = rates.iter().map(|&rate| f64::from(rate)).collect();
            for (drafts, draft, verify, rtt) in [
                (1, 10.0, 30.0, 0.0),
                (4, 2.0, 60.0, 10.0),
                (4, 10.0, 15.0, 100.0),
                (8, 5.0, 30.0, 40.0),
                (16, 2.0, 30.0, 200.0),
            ] {
                let found = stepped(&exact, drafts, draft, verify, rtt);
                let wanted = pipeline(&acceptance, drafts, draft, verify, rtt).token_ms();
                let off = (found / wanted - 1.0).abs();
                assert!(off < 0.02, "{rates:?}, {drafts}: {found}, not {wanted}");
            }
        }
    }

    /// The same of a node that gathers windows.
    fn gathered(rates: &[f64], with: &Gathering) -> f64 {
        let mut state = 1_u64;
        let mut accepts = |place: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let draw = (state >> 11) as f64 / (1_u64 << 53) as f64;
            draw < rates[place.min(rates.len() - 1)]
        };
        let (mut time, mut committed) = (0.0, 0);
        while committed < 200_000 {
            let mut right = 0;
            while accepts(right) {
                right += 1;
            }
            let (mut free_at, mut verified) = (0.0_f64, 0);
            while verified <= right {
                // A step of time at the node: a window comes, or it is free.
                let window_ms = with.draft_ms * f64::from(with.drafts);
                let next = (verified as u32 / with.drafts + 1) as f64 * window_ms;
                let begins = free_at.max(next);
                let mut columns = 0;
                while columns < with.in_flight_max
                    && (verified as u32 + columns + with.drafts) as f64 * with.draft_ms
                        <= begins + 1e-6
                {
                    columns += with.drafts;
                }
                let (base, each) = with.verify_ms;
                free_at = begins + base + each * f64::from(columns + 1);
                verified += columns as usize;
            }
            committed += right + 1;
            time += free_at + with.exchange_ms;
        }
        time / committed as f64
    }

    #[test]
    fn a_node_that_gathers_windows_takes_the_time_of_its_passes() {
        for rates in [vec![0.6_f32], vec![0.9], vec![0.8, 0.9, 0.92]] {
            let acceptance = Acceptance::new(&rates).unwrap();
            let exact: Vec<f64> = rates.iter().map(|&rate| f64::from(rate)).collect();
            for (drafts, draft_ms, base, exchange_ms) in [
                (1, 10.0, 14.0, 0.0),
                (4, 2.0, 59.0, 40.0),
                (7, 2.0, 29.0, 40.0),
                (7, 10.0, 14.0, 200.0),
            ] {
                let gathering = Gathering {
                    drafts,
                    draft_ms,
                    verify_ms: (base, 1.0),
                    exchange_ms,
                    loss_ms: 0.0,
                    in_flight_max: 64,
                };
                let found = gathered(&exact, &gathering);
                let wanted = gathering.token_ms(&acceptance);
                let off = (found / wanted - 1.0).abs();
                assert!(
                    off < 0.02,
                    "{rates:?}, {gathering:?}: {found}, not {wanted}"
                );
            }
        }
    }

    /// The largest whole RTT at which `token_ms` is not above `stream_ms`.
    fn limit(stream_ms: f64, token_ms: impl Fn(f64) -> f64) -> u32 {
        let rtts = (0..1000).take_while(|&rtt| token_ms(f64::from(rtt)) <= stream_ms + 1e-3);
        rtts.last().expect("some RTT")
    }

    #[test]
    fn the_worked_table_of_the_cost_model() {
        // T_c, T_d, a: sequential verify beats streaming up to, pipelined up
        // to; T_v is T_c, and the pipelined form the one without redrafting.
        for (cloud, draft, rate, sequential, pipelined) in [
            (30.0, 10.0, 0.8, 30, 70),
            (30.0, 5.0, 0.8, 59, 95),
            (60.0, 15.0, 0.8, 87, 165),
            (15.0, 10.0, 0.8, 2, 10),
        ] {
            let acceptance = Acceptance::new(&[rate]).unwrap();
            let best = limit(cloud, |rtt| {
                let ms = |k| sequential_ms(k, draft, rtt, cloud, acceptance.committed(k));
                (1..=16).map(ms).fold(f64::INFINITY, f64::min)
            });
            assert!(best.abs_diff(sequential) <= 1, "{best} for {sequential}");
            let best = limit(cloud, |rtt| {
                let pipeline = Pipeline {
                    step_ms: draft,
                    ..pipeline(&acceptance, 1, draft, cloud, rtt)
                };
                pipeline.token_ms()
            });
            assert_eq!(best, pipelined);
        }
    }

    #[test]
    fn a_constant_rate_gives_the_closed_forms() {
        let a = 0.8_f64;
        let acceptance = Acceptance::new(&[0.8]).unwrap();
        for k in 1..=16_u32 {
            let power = |n: u32| a.powi(n as i32);
            let committed = (1.0 - power(k + 1)) / (1.0 - a);
            assert!((acceptance.committed(k) - committed).abs() < 1e-6);
            let whole = power(k) / (1.0 - power(k));
            assert!((acceptance.whole_windows(k) - whole).abs() < 1e-6);
            // Drafting is slower: the form with f.
            let before: f64 = (1..k).map(|i| f64::from(i) * power(i)).sum();
            let behind = f64::from(k - 1) - before * (1.0 - a) / (1.0 - power(k));
            let wanted = 50.0 + (1.0 - a) * (40.0 + 30.0 + behind * 50.0);
            let found = pipeline(&acceptance, k, 50.0, 30.0, 40.0).token_ms();
            assert!((found - wanted).abs() < 1e-4, "{found}, not {wanted}");
        }
        assert!((acceptance.run() - 5.0).abs() < 1e-6);
    }

    #[test]
    fn places_count_each_for_itself() {
        let acceptance = Acceptance::new(&[0.9, 0.5, 0.0]).unwrap();
        assert!((acceptance.reach(2) - 0.45).abs() < 1e-6);
        assert!((acceptance.committed(2) - 2.35).abs() < 1e-6);
        // Nothing is accepted past the third place.
        assert!((acceptance.committed(16) - 2.35).abs() < 1e-6);
        assert!((acceptance.run() - 2.35).abs() < 1e-6);
        assert!(Acceptance::new(&[]).is_none());
    }

    #[test]
    fn loss_adds_probe_timeouts() {
        assert_eq!(loss_ms(0.0, 40.0, 5.0), 0.0);
        // 1 - 0.95^2 = 0.0975; 40 + 20 + 5 + 40 = 105.
        let added = loss_ms(0.05, 40.0, 5.0);
        assert!((added - 0.0975 * 105.0 / 0.9025).abs() < 1e-9);
        assert!(loss_ms(1.0, 40.0, 5.0).is_finite());
        let noticed = loss_behind_ms(0.05, 40.0);
        assert!((noticed - 0.0975 * 45.0 / 0.9025).abs() < 1e-9);
        assert!((transfer_ms(8192.0, 10.0) - 6.5536).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn any_rates_give_finite_numbers(rates in prop::collection::vec(any::<f32>(), 1..80), k in 1..17_u32) {
            let acceptance = Acceptance::new(&rates).unwrap();
            let committed = acceptance.committed(k);
            prop_assert!((1.0..=f64::from(k + 1)).contains(&committed));
            prop_assert!(acceptance.run() >= 1.0 && acceptance.run().is_finite());
            let whole = acceptance.whole_windows(k);
            prop_assert!(whole >= 0.0 && whole.is_finite(), "{whole}");
        }
    }
}
