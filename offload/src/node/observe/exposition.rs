//! The metrics in OpenMetrics' text format, which Prometheus reads.

use super::{Observed, Readiness, Serving};
use crate::node::{COLUMN_CLASSES, PASS_US_CLASSES, Snapshot};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, info::Info},
    registry::{Registry, Unit},
};
use std::{fmt, sync::Arc};

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of a node now.
pub(super) fn write(observed: &Arc<Observed>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("outrigger_node");
    registry.register_collector(Box::new(Exposition(observed.clone())));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct Exposition(Arc<Observed>);

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut writer = Writer(encoder);
        let observed = &*self.0;
        writer.info("build", "The program.", &[("version", observed.version)])?;
        let uptime = observed.started.elapsed().as_secs_f64();
        writer.seconds("uptime", "Time since the program started.", uptime)?;
        let readiness = observed.readiness();
        let up = |state| i64::from(readiness == state);
        writer.gauge(
            "ready",
            "Whether the node takes work.",
            up(Readiness::Ready),
        )?;
        let draining = up(Readiness::Draining);
        writer.gauge("draining", "Whether the node is ending.", draining)?;
        match observed.serving.get() {
            Some(serving) => serving.encode(&mut writer),
            None => Ok(()),
        }
    }
}

impl Serving {
    fn encode(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let model = &self.model;
        let model = [
            ("title", model.title.as_str()),
            ("quant", &model.quant),
            ("kernel_set", &model.kernel_set),
        ];
        writer.info("model", "The model that is served.", &model)?;
        let now = self.metrics.snapshot();
        self.generations(writer, &now)?;
        self.passes(writer, &now)?;
        self.links(writer)
    }

    fn generations(&self, writer: &mut Writer<'_>, now: &Snapshot) -> fmt::Result {
        let under_way = signed(now.sessions);
        writer.gauge("sessions", "Generations under way.", under_way)?;
        writer.counter("sessions_opened", "Generations begun.", now.opened)?;
        writer.counter("sessions_closed", "Generations ended.", now.closed)?;
        let orphaned = "Times that a generation's edge went away.";
        writer.counter("sessions_orphaned", orphaned, now.orphaned)?;
        writer.counter("tokens", "Tokens chosen.", now.tokens)?;
        let clients = self.metrics.clients();
        let each = clients.iter().map(|c| (c.name.as_str(), c.tokens));
        let help = "Tokens chosen for a client.";
        writer.family("client_tokens", help, "client", each)?;
        let help = "Tokens of prompts taken in.";
        writer.counter("prompt_tokens", help, now.prompt_tokens)?;
        let refusals = self.metrics.refusals().into_iter();
        let help = "Links and requests refused, by reason.";
        writer.family("refused", help, "reason", refusals)?;
        let help = "Positions in the transcripts of the generations under way.";
        writer.gauge("kv_positions", help, signed(now.kv_positions))?;
        let help = "Positions that the KV cache has room for.";
        writer.gauge("kv_positions_max", help, signed(self.kv_positions_max))
    }

    fn passes(&self, writer: &mut Writer<'_>, now: &Snapshot) -> fmt::Result {
        let bounds = COLUMN_CLASSES.map(|most| match most {
            usize::MAX => f64::INFINITY,
            most => most as f64,
        });
        let columns = Histogram {
            sum: now.columns as f64,
            classes: bounds.into_iter().zip(now.passes).collect(),
        };
        let help = "Columns (tokens of all generations) in a forward pass.";
        columns.encode(writer.of("pass_columns", help, None, MetricType::Histogram)?)?;
        let bounds = PASS_US_CLASSES.map(|most| match most {
            u64::MAX => f64::INFINITY,
            most => most as f64 / 1e6,
        });
        let times = Histogram {
            sum: now.busy_us as f64 / 1e6,
            classes: bounds.into_iter().zip(now.pass_times).collect(),
        };
        let (help, unit) = ("Time that a forward pass took.", Some(&Unit::Seconds));
        times.encode(writer.of("pass", help, unit, MetricType::Histogram)?)?;
        writer.counter("passes_failed", "Passes that failed.", now.failed)?;
        let step = f64::from(self.times.step_ms) / 1e3;
        let help = "Time of a pass with one column, measured at the start.";
        writer.seconds("step", help, step)?;
        let waiting = self
            .commands
            .upgrade()
            .map_or(0, |commands| commands.max_capacity() - commands.capacity());
        let help = "Messages of edges that wait to be taken in.";
        writer.gauge("queue", help, signed(waiting as u64))
    }

    fn links(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let links = self.links.totals();
        writer.gauge("links", "Connections of edges.", signed(links.open as u64))?;
        writer.counter("links_admitted", "Connections let in.", links.admitted)?;
        let bytes = Some(&Unit::Bytes);
        let sent = ConstCounter::new(links.sent_bytes);
        let help = "Bytes of UDP sent on links.";
        sent.encode(writer.of("sent", help, bytes, MetricType::Counter)?)?;
        let received = ConstCounter::new(links.received_bytes);
        let help = "Bytes of UDP received on links.";
        received.encode(writer.of("received", help, bytes, MetricType::Counter)?)
    }
}

/// Counts in classes, each with its upper bound.
struct Histogram {
    sum: f64,
    classes: Vec<(f64, u64)>,
}

impl Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let count = self.classes.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum, count, &self.classes, None)
    }
}

struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn of<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        unit: Option<&'s Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }

    fn gauge(&mut self, name: &str, help: &str, value: i64) -> fmt::Result {
        ConstGauge::new(value).encode(self.of(name, help, None, MetricType::Gauge)?)
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        ConstGauge::new(value).encode(self.of(name, help, unit, MetricType::Gauge)?)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.of(name, help, None, MetricType::Counter)?)
    }

    fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) -> fmt::Result {
        let labels = labels.to_vec();
        Info::new(labels).encode(self.of(name, help, None, MetricType::Info)?)
    }

    /// A counter for each value of a label.
    fn family<'l>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (&'l str, u64)>,
    ) -> fmt::Result {
        let mut family = self.of(name, help, None, MetricType::Counter)?;
        for (value, count) in values {
            let labels = [(label, value)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
