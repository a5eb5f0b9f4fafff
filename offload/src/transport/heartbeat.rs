use super::LinkEstimate;
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// When a silent peer is given up.
///
/// While work is outstanding and nothing is heard for `ping_ms`, a ping goes
/// out every `ping_ms`. The peer is dead once nothing was heard since
/// `misses` pings of which even the last was not answered within
/// `srtt + 4 rttvar + margin_ms`, held between `wait_ms_min` and
/// `wait_ms_max`. At 40 ms and a deviation of 5 ms, the defaults notice a
/// death after 385 ms; at 5 % loss each way, one in 10^10 such rows of pings
/// is lost by chance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeartbeatConfig {
    /// Between two pings. Default 30, range 5 to 1,000. Less notices a death
    /// sooner and sends more: about 60 bytes each way a ping.
    pub ping_ms: u32,
    /// Unanswered pings in a row that mean death. Default 10, range 2 to 50.
    /// More bears more loss and notices a death later.
    pub misses: u32,
    /// Added to what the round trip suggests. Default 25, range 0 to 1,000.
    pub margin_ms: u32,
    /// The shortest wait for an answer. Default 50, range 1 to 10,000.
    pub wait_ms_min: u32,
    /// The longest wait for an answer. Default 2,000, range `wait_ms_min` to
    /// 10,000.
    pub wait_ms_max: u32,
    /// Between two pings while answers come, so that the round trip stays
    /// known. Default 500, range `ping_ms` to 60,000.
    pub sample_ms: u32,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self {
            ping_ms: 30,
            misses: 10,
            margin_ms: 25,
            wait_ms_min: 50,
            wait_ms_max: 2_000,
            sample_ms: 500,
        }
    }
}

impl HeartbeatConfig {
    /// Holds every field against its range.
    pub fn validate(&self) -> Result<(), super::LinkConfigError> {
        super::link_config::check(&[
            ("ping_ms", self.ping_ms, 5, 1_000),
            ("misses", self.misses, 2, 50),
            ("margin_ms", self.margin_ms, 0, 1_000),
            ("wait_ms_min", self.wait_ms_min, 1, 10_000),
            ("wait_ms_max", self.wait_ms_max, self.wait_ms_min, 10_000),
            ("sample_ms", self.sample_ms, self.ping_ms, 60_000),
        ])
    }
}

/// What the owner of a [`Heartbeat`] is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Send a ping that carries this number; ask again at once.
    Ping(u64),
    /// Ask again at this time, or earlier if something is heard.
    Wake(Instant),
    /// Nothing until there is work.
    Rest,
    /// Give the peer up.
    Dead {
        /// For how long nothing was heard.
        silent: Duration,
    },
}

/// Notices the death of a peer and measures the link to it. It has no clock
/// and sends nothing: time comes in, [`Beat`]s go out.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    config: HeartbeatConfig,
    estimate: LinkEstimate,
    working: bool,
    heard: Instant,
    pinged: Option<Instant>,
    /// When a ping was last answered that measured the round trip.
    sampled: Option<Instant>,
    next: u64,
    /// Pings without an answer so far, whether or not others were answered.
    open: VecDeque<(u64, Instant)>,
    /// When pings went out since something was heard; at most `misses`.
    missed: Vec<Instant>,
}

impl Heartbeat {
    /// For a peer that was heard just now.
    pub fn new(config: HeartbeatConfig, now: Instant) -> Self {
        Self {
            config,
            estimate: LinkEstimate::new(),
            working: false,
            heard: now,
            pinged: None,
            sampled: None,
            next: 0,
            open: VecDeque::new(),
            missed: Vec::new(),
        }
    }

    /// What is known of the link.
    pub fn estimate(&self) -> &LinkEstimate {
        &self.estimate
    }

    /// For transfers, which are measured elsewhere.
    pub fn estimate_mut(&mut self) -> &mut LinkEstimate {
        &mut self.estimate
    }

    /// Whether an answer of the peer is waited for. Silence counts from the
    /// beginning of work.
    pub fn set_working(&mut self, working: bool, now: Instant) {
        if working && !self.working {
            self.heard(now);
        }
        self.working = working;
    }

    /// Takes in that the peer sent something, whatever it was.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.missed.clear();
    }

    /// Takes in the answer to a ping. One to no ping of ours says nothing.
    pub fn answered(&mut self, ping: u64, now: Instant) {
        let Some(at) = self.open.iter().position(|(number, _)| *number == ping) else {
            return;
        };
        if let Some((_, sent)) = self.open.remove(at) {
            // Pings that were under way together tell of one moment of the
            // link, however many they are.
            if self.sampled.is_none_or(|sampled| sampled <= sent) {
                let took = now.saturating_duration_since(sent);
                self.estimate.round_trip(took);
                self.sampled = Some(now);
            }
            self.estimate.exchange(false);
            self.heard(now);
        }
    }

    /// How long an answer is waited for.
    pub fn wait(&self) -> Duration {
        let [least, most] = [self.config.wait_ms_min, self.config.wait_ms_max].map(ms);
        let (Some(srtt), Some(var)) = (self.estimate.srtt(), self.estimate.rttvar()) else {
            return most.min(Duration::from_millis(300)).max(least);
        };
        (srtt + 4 * var + ms(self.config.margin_ms)).clamp(least, most)
    }

    /// What to do now.
    pub fn poll(&mut self, now: Instant) -> Beat {
        let given_up = ms(self.config.wait_ms_max);
        while self
            .open
            .front()
            .is_some_and(|(_, sent)| *sent + given_up <= now)
        {
            self.open.pop_front();
            self.estimate.exchange(true);
        }
        if !self.working {
            return Beat::Rest;
        }
        let death = self.missed.get(self.config.misses as usize - 1);
        let death = death.map(|last| *last + self.wait());
        if death.is_some_and(|at| at <= now) {
            let silent = now.saturating_duration_since(self.heard);
            return Beat::Dead { silent };
        }
        let ping = self.ping_at();
        if ping <= now {
            return Beat::Ping(self.ping(now));
        }
        Beat::Wake(death.map_or(ping, |at| at.min(ping)))
    }

    fn ping_at(&self) -> Instant {
        let Some(pinged) = self.pinged else {
            return self.heard;
        };
        let quiet = self.heard.max(pinged) + ms(self.config.ping_ms);
        quiet.min(pinged + ms(self.config.sample_ms))
    }

    fn ping(&mut self, now: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        self.pinged = Some(now);
        // They leave after `wait_ms_max`, so that this is bounded too.
        self.open.push_back((number, now));
        if self.missed.len() < self.config.misses as usize {
            self.missed.push(now);
        }
        number
    }
}

fn ms(count: u32) -> Duration {
    Duration::from_millis(count.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;
    use std::collections::BTreeMap;

    const MS: Duration = Duration::from_millis(1);

    /// A peer that answers pings over a link with delay, jitter and loss.
    struct Link {
        random: Rng,
        loss: f64,
        one_way: Duration,
        jitter: Duration,
        /// When the peer dies.
        death: Instant,
        answers: BTreeMap<(Instant, u64), u64>,
    }

    impl Link {
        fn way(&mut self, from: Instant) -> Option<Instant> {
            let jitter = self.jitter.mul_f64(self.random.f64());
            (self.random.f64() >= self.loss).then(|| from + self.one_way + jitter)
        }

        fn ping(&mut self, number: u64, now: Instant) {
            let reaches = self.way(now).filter(|at| *at < self.death);
            if let Some(back) = reaches.and_then(|at| self.way(at)) {
                self.answers.insert((back, number), number);
            }
        }

        /// Until the peer is given up or time is over; when it was given up.
        fn run(&mut self, heart: &mut Heartbeat, from: Instant, to: Instant) -> Option<Instant> {
            let mut now = from;
            while now < to {
                let wake = match heart.poll(now) {
                    Beat::Dead { .. } => return Some(now),
                    Beat::Ping(number) => {
                        self.ping(number, now);
                        continue;
                    }
                    Beat::Wake(at) => at,
                    Beat::Rest => panic!("there is work"),
                };
                match self.answers.first_key_value().map(|(k, _)| *k) {
                    Some((at, number)) if at <= wake => {
                        self.answers.pop_first();
                        now = at;
                        heart.answered(number, now);
                    }
                    _ => now = wake,
                }
            }
            None
        }
    }

    fn link(seed: u64, loss: f64, jitter: Duration, death: Instant) -> Link {
        Link {
            random: Rng::with_seed(seed),
            loss,
            one_way: 20 * MS,
            jitter,
            death,
            answers: BTreeMap::new(),
        }
    }

    #[test]
    fn death_is_noticed_in_time_and_loss_is_not_death() {
        for (loss, jitter) in [(0.0, 0), (0.01, 2), (0.05, 5), (0.05, 10)] {
            let mut noticed = Vec::new();
            let (mut false_alarms, mut hours) = (0, 0.0);
            for seed in 0..100 {
                let begin = Instant::now();
                let lives = Duration::from_secs(300) + MS * (seed as u32 * 37 % 1000);
                let death = begin + lives;
                let mut link = link(seed, loss, jitter * MS, death);
                let mut heart = Heartbeat::new(HeartbeatConfig::default(), begin);
                heart.set_working(true, begin);
                hours += lives.as_secs_f64() / 3600.0;
                match link.run(&mut heart, begin, death + Duration::from_secs(10)) {
                    Some(at) if at >= death => noticed.push(at - death),
                    _ => false_alarms += 1,
                }
                let measured = heart.estimate().loss();
                assert!((measured - loss).abs() < 0.06, "loss {measured} for {loss}");
            }
            noticed.sort();
            let (median, most) = (noticed[noticed.len() / 2], noticed[noticed.len() - 1]);
            println!(
                "40 ms RTT, jitter {jitter} ms, loss {:.0} %: death noticed after {median:?}, at \
                 most {most:?}; {false_alarms} false alarms in {hours:.1} hours",
                loss * 100.0
            );
            assert_eq!(false_alarms, 0);
            assert!(most < 500 * MS, "{most:?}");
        }
    }

    #[test]
    fn pings_that_were_held_up_together_count_once() {
        let begin = Instant::now();
        let mut heart = Heartbeat::new(HeartbeatConfig::default(), begin);
        heart.set_working(true, begin);
        for round in 0..50 {
            let now = begin + round * 500 * MS;
            let Beat::Ping(number) = heart.poll(now) else {
                panic!("a ping is due");
            };
            heart.answered(number, now + 10 * MS);
        }
        // Then answers are held back for 270 ms and come at once.
        let stall = begin + 50 * 500 * MS;
        let mut numbers = Vec::new();
        for at in 0..270 {
            if let Beat::Ping(number) = heart.poll(stall + at * MS) {
                numbers.push(number);
            }
        }
        assert!(numbers.len() > 5, "{numbers:?}");
        for number in numbers {
            heart.answered(number, stall + 270 * MS);
        }
        assert!(heart.estimate().srtt().unwrap() < 45 * MS);
        assert!(heart.wait() < 350 * MS, "{:?}", heart.wait());
    }

    #[test]
    fn what_is_heard_spares_pings() {
        let begin = Instant::now();
        let mut heart = Heartbeat::new(HeartbeatConfig::default(), begin);
        assert_eq!(heart.poll(begin), Beat::Rest);
        heart.set_working(true, begin);
        let mut pings = 0;
        for at in 0..10_000 {
            let now = begin + at * MS;
            // A token every 20 ms.
            if at % 20 == 0 {
                heart.heard(now);
            }
            while let Beat::Ping(number) = heart.poll(now) {
                heart.answered(number, now);
                pings += 1;
            }
        }
        assert_eq!(pings, 20, "two a second, for the round trip");
        heart.set_working(false, begin);
        assert_eq!(heart.poll(begin + 60_000 * MS), Beat::Rest);
    }

    #[test]
    fn answers_to_nothing_say_nothing() {
        let begin = Instant::now();
        let mut heart = Heartbeat::new(HeartbeatConfig::default(), begin);
        heart.set_working(true, begin);
        heart.answered(7, begin + 5 * MS);
        assert_eq!(heart.estimate().srtt(), None);
        let Beat::Ping(number) = heart.poll(begin) else {
            panic!("the first ping goes out at once");
        };
        heart.answered(number, begin + 40 * MS);
        heart.answered(number, begin + 90 * MS);
        assert_eq!(heart.estimate().srtt(), Some(40 * MS));
    }
}
