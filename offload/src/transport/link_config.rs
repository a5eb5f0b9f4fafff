use quinn::{
    AckFrequencyConfig, ClientConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt,
    congestion::CubicConfig,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// How a link behaves. Each field has its unit in its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkConfig {
    /// How often an idle link is shown to be alive. Default 5,000, range 500
    /// to 60,000. Less keeps the ports of address translators open more
    /// surely; more saves a battery's radio.
    pub keep_alive_ms: u32,
    /// After how much silence QUIC gives a link up. Default 20,000, range
    /// 1,000 to 300,000, and above twice `keep_alive_ms`. While work is
    /// outstanding the heartbeat notices a dead peer long before; this bounds
    /// what an idle link that died costs a node.
    pub idle_timeout_ms: u32,
    /// The round trip assumed before one was measured. Default 100, range 1 to
    /// 1,000. Less repeats lost handshake packets sooner; more avoids
    /// repeating them in vain on slow links.
    pub initial_rtt_ms: u32,
    /// Bytes that may be in flight before the first acknowledgement. Default
    /// 262,144, range 14,720 to 16,777,216. More lets a prompt's states go
    /// out in one round trip; too much overruns the queue of a slow link.
    pub initial_window_bytes: u32,
    /// Bytes of one stream that may wait here unread. Default 4 MiB, range
    /// 64 KiB to 64 MiB. More carries more per round trip; it bounds memory.
    pub stream_window_bytes: u32,
    /// The same for all streams of a link. Default 16 MiB, range 64 KiB to
    /// 256 MiB, not below `stream_window_bytes`.
    pub receive_window_bytes: u32,
    /// Bytes that may wait here for acknowledgement. Default 16 MiB, range
    /// 64 KiB to 256 MiB.
    pub send_window_bytes: u32,
    /// Streams of each kind that the other end may have open at once. Default
    /// 64, range 4 to 1,024. More lets more steps be in flight; each costs
    /// memory.
    pub streams_max: u32,
    /// Bytes of datagrams that may wait here, in each direction. Default
    /// 256 KiB, range 4 KiB to 4 MiB. When full, the oldest are dropped.
    pub datagram_buffer_bytes: u32,
    /// The longest an acknowledgement may be held back. Default 5, range 1 to
    /// 25. It is part of the time after which a lost packet is noticed; less
    /// sends more acknowledgements.
    pub ack_delay_ms_max: u32,
    /// Whether many packets are given to the system at once. Default true.
    /// Off costs processor time; some mobile paths drop such bursts.
    pub segmentation_offload: bool,
    /// How long a connection may take to be made, proof of both ends
    /// included. Default 5,000, range 100 to 60,000.
    pub handshake_ms_max: u32,
    /// Whom a node lets in.
    pub admission: AdmissionConfig,
}

/// How many connections a node takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdmissionConfig {
    /// Links open at once. Default 256, range 1 to 65,536. Each may take
    /// `receive_window_bytes` and `send_window_bytes` of memory at worst.
    pub links_max: u32,
    /// Links of one client open at once. Default 8, range 1 to `links_max`.
    /// A client that reconnects has two until the old one is given up.
    pub links_per_client_max: u32,
    /// Connections in their handshake at once, enrolments included. Default
    /// 64, range 1 to 4,096. From half of it on, a client must first show
    /// that it owns its address, which costs it a round trip.
    pub handshakes_max: u32,
    /// The same from one IPv4 address or one IPv6 network of 64 bits. Default
    /// 16, range 1 to `handshakes_max`. Less bears an attacker better, more
    /// lets many edges behind one address return at once.
    pub handshakes_per_address_max: u32,
    /// Enrolments at once. Default 4, range 1 to 64.
    pub enrolments_max: u32,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            keep_alive_ms: 5_000,
            idle_timeout_ms: 20_000,
            initial_rtt_ms: 100,
            initial_window_bytes: 256 << 10,
            stream_window_bytes: 4 << 20,
            receive_window_bytes: 16 << 20,
            send_window_bytes: 16 << 20,
            streams_max: 64,
            datagram_buffer_bytes: 256 << 10,
            ack_delay_ms_max: 5,
            segmentation_offload: true,
            handshake_ms_max: 5_000,
            admission: AdmissionConfig::default(),
        }
    }
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self {
            links_max: 256,
            links_per_client_max: 8,
            handshakes_max: 64,
            handshakes_per_address_max: 16,
            enrolments_max: 4,
        }
    }
}

/// A field of a [`LinkConfig`] is out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {given}, but may be {least} to {most}")]
pub struct LinkConfigError {
    /// The field.
    pub field: &'static str,
    /// What it is.
    pub given: u32,
    /// The least it may be.
    pub least: u32,
    /// The most it may be.
    pub most: u32,
}

const INCOMING_BYTES_MAX: u64 = 64 << 10;

impl LinkConfig {
    /// Holds every field against its range.
    pub fn validate(&self) -> Result<(), LinkConfigError> {
        let Self { admission, .. } = self;
        let alive = self.keep_alive_ms.saturating_mul(2).max(1_000);
        let ranges = [
            ("keep_alive_ms", self.keep_alive_ms, 500, 60_000),
            ("idle_timeout_ms", self.idle_timeout_ms, alive, 300_000),
            ("initial_rtt_ms", self.initial_rtt_ms, 1, 1_000),
            (
                "initial_window_bytes",
                self.initial_window_bytes,
                14_720,
                16 << 20,
            ),
            (
                "stream_window_bytes",
                self.stream_window_bytes,
                64 << 10,
                64 << 20,
            ),
            (
                "receive_window_bytes",
                self.receive_window_bytes,
                self.stream_window_bytes,
                256 << 20,
            ),
            (
                "send_window_bytes",
                self.send_window_bytes,
                64 << 10,
                256 << 20,
            ),
            ("streams_max", self.streams_max, 4, 1_024),
            (
                "datagram_buffer_bytes",
                self.datagram_buffer_bytes,
                4 << 10,
                4 << 20,
            ),
            ("ack_delay_ms_max", self.ack_delay_ms_max, 1, 25),
            ("handshake_ms_max", self.handshake_ms_max, 100, 60_000),
            ("admission.links_max", admission.links_max, 1, 65_536),
            (
                "admission.links_per_client_max",
                admission.links_per_client_max,
                1,
                admission.links_max,
            ),
            (
                "admission.handshakes_max",
                admission.handshakes_max,
                1,
                4_096,
            ),
            (
                "admission.handshakes_per_address_max",
                admission.handshakes_per_address_max,
                1,
                admission.handshakes_max,
            ),
            ("admission.enrolments_max", admission.enrolments_max, 1, 64),
        ];
        check(&ranges)
    }

    /// How long a connection may take to be made.
    pub fn handshake_time(&self) -> Duration {
        ms(self.handshake_ms_max)
    }

    /// The settings of quinn for either end.
    pub fn transport(&self) -> TransportConfig {
        let mut window = CubicConfig::default();
        window.initial_window(self.initial_window_bytes.into());
        let mut acknowledge = AckFrequencyConfig::default();
        acknowledge.max_ack_delay(Some(ms(self.ack_delay_ms_max)));
        let datagrams = self.datagram_buffer_bytes as usize;
        let mut transport = TransportConfig::default();
        transport
            .keep_alive_interval(Some(ms(self.keep_alive_ms)))
            .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(
                self.idle_timeout_ms,
            ))))
            .initial_rtt(ms(self.initial_rtt_ms))
            .congestion_controller_factory(Arc::new(window))
            .stream_receive_window(self.stream_window_bytes.into())
            .receive_window(self.receive_window_bytes.into())
            .send_window(self.send_window_bytes.into())
            .send_fairness(false)
            .max_concurrent_bidi_streams(self.streams_max.into())
            .max_concurrent_uni_streams(self.streams_max.into())
            .datagram_receive_buffer_size(Some(datagrams))
            .datagram_send_buffer_size(datagrams)
            .ack_frequency_config(Some(acknowledge))
            .enable_segmentation_offload(self.segmentation_offload);
        transport
    }

    /// The settings of quinn for an edge.
    pub(super) fn client(&self, tls: Arc<QuicClientConfig>) -> ClientConfig {
        let mut config = ClientConfig::new(tls);
        config.transport_config(Arc::new(self.transport()));
        config
    }

    /// The settings of quinn for a node.
    pub(super) fn server(&self, tls: Arc<QuicServerConfig>) -> ServerConfig {
        let handshakes = self.admission.handshakes_max;
        let mut config = ServerConfig::with_crypto(tls);
        config
            .transport_config(Arc::new(self.transport()))
            .migration(true)
            .max_incoming(handshakes as usize)
            .incoming_buffer_size(INCOMING_BYTES_MAX)
            .incoming_buffer_size_total(INCOMING_BYTES_MAX * u64::from(handshakes));
        config
    }
}

/// Holds fields against their ranges: name, value, least, most.
pub(super) fn check(ranges: &[(&'static str, u32, u32, u32)]) -> Result<(), LinkConfigError> {
    for &(field, given, least, most) in ranges {
        if !(least..=most).contains(&given) {
            return Err(LinkConfigError {
                field,
                given,
                least,
                most,
            });
        }
    }
    Ok(())
}

fn ms(count: u32) -> Duration {
    Duration::from_millis(count.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_ranges_are_held() {
        LinkConfig::default().validate().unwrap();
        let config: LinkConfig = toml::from_str("keep_alive_ms = 15000").unwrap();
        let error = config.validate().unwrap_err();
        assert_eq!(
            error.to_string(),
            "idle_timeout_ms is 20000, but may be 30000 to 300000"
        );
        assert!(toml::from_str::<LinkConfig>("keepalive = 1").is_err());
    }
}
