//! The feed-forward block's phases, dense and with experts.

use super::pass::{Pass, Places, Product, kind, least_rows};
use crate::model::{Dense, Experts, FeedForward, Layer, Linear, Matrix, Operation, SharedExpert};
use outrigger_kernels::{
    cpu::{
        dot::ActivationKind,
        elementwise::{Activation, activate, gate as apply_gate, sigmoid},
        route::route,
        vector::{add, add_scaled},
    },
    team::{Halt, Member, SharedBuffer},
};
use std::ops::Range;

/// A gated block's first two matrices, and where their product goes: rows of
/// `hidden`, one for each of `slots`.
struct GateUp<'a> {
    gate: Option<&'a Linear>,
    up: &'a Linear,
    activation: Activation,
}

impl<'a> GateUp<'a> {
    fn of(block: &'a Dense, activation: Activation) -> Self {
        Self {
            gate: block.gate.as_ref(),
            up: &block.up,
            activation,
        }
    }
}

/// What the phases of a dense block are recorded as.
struct DenseOperations {
    gate_up: Operation,
    quantize: Operation,
    down: Operation,
}

/// The block of all layers without experts.
const DENSE: DenseOperations = DenseOperations {
    gate_up: Operation::GateUp,
    quantize: Operation::HiddenQuantize,
    down: Operation::Down,
};

/// The block beside the experts.
const SHARED: DenseOperations = DenseOperations {
    gate_up: Operation::SharedGateUp,
    quantize: Operation::SharedQuantize,
    down: Operation::SharedDown,
};

impl Pass {
    /// From the normed input to the block's output.
    pub(super) fn feed_forward(&self, member: &Member<'_>, layer: &Layer) -> Result<(), Halt> {
        match &layer.ffn {
            FeedForward::Dense(block) => {
                let gate_up = GateUp::of(block, layer.activation);
                self.dense(member, &gate_up, &block.down, &self.work.ffn_out, &DENSE)
            }
            FeedForward::Experts(experts) => {
                self.experts(member, layer, experts)?;
                match &experts.shared {
                    Some(shared) => self.shared_expert(member, layer, shared),
                    None => Ok(()),
                }
            }
        }
    }

    fn dense(
        &self,
        member: &Member<'_>,
        gate_up: &GateUp<'_>,
        down: &Linear,
        out: &SharedBuffer<f32>,
        operations: &DenseOperations,
    ) -> Result<(), Halt> {
        let rows = gate_up.up.weight.rows();
        for range in member.guided(rows, least_rows(self.columns())) {
            self.gate_up_rows(member, gate_up, Places::All(self.columns()), range);
        }
        self.end(member, operations.gate_up)?;
        let hidden = &self.work.hidden;
        if kind(&down.weight) == ActivationKind::Q8 {
            self.quantize(member, hidden, self.columns(), rows);
            self.end(member, operations.quantize)?;
        }
        self.products(member, hidden, &[Product { linear: down, out }]);
        self.end(member, operations.down)
    }

    /// `activation(gate) * up` for some rows, into the slots of `hidden`. The
    /// caller took these rows of these slots.
    fn gate_up_rows(
        &self,
        member: &Member<'_>,
        gate_up: &GateUp<'_>,
        places: Places<'_>,
        rows: Range<usize>,
    ) {
        let len = gate_up.up.weight.rows();
        let place = |slot: usize| slot * len + rows.start..slot * len + rows.end;
        let write = |linear: &Linear, to: &dyn Fn(usize, usize, &[f32])| {
            let weight = &linear.weight;
            // SAFETY: the normed input was written in an earlier phase.
            let input = unsafe {
                self.work
                    .normed
                    .columns(kind(weight), 0..places.columns(), weight.cols())
            };
            let input = (input, places.pick());
            self.multiply(
                member,
                weight,
                rows.clone(),
                input,
                |index, first, values| {
                    to(places.slot(index), first, values);
                },
            );
        };
        let hidden = |slot: usize, part: Range<usize>| {
            // SAFETY: the phase rule; the calling thread took these rows.
            unsafe { self.work.hidden.part_mut(slot, len, part) }
        };
        let put = |linear: &Linear, out: &mut [f32], first: usize, values: &[f32]| {
            out.copy_from_slice(values);
            if let Some(bias) = &linear.bias {
                add(self.isa, out, &bias[first..first + values.len()]);
            }
        };
        let to_hidden = |linear: &Linear| {
            write(linear, &|slot, first, values| {
                put(
                    linear,
                    hidden(slot, first..first + values.len()),
                    first,
                    values,
                );
            });
        };
        let Some(gate) = gate_up.gate else {
            to_hidden(gate_up.up);
            for index in 0..places.count() {
                let hidden = hidden(places.slot(index), rows.clone());
                activate(self.isa, gate_up.activation, hidden);
            }
            return;
        };
        to_hidden(gate);
        write(gate_up.up, &|slot, first, values| {
            let start = slot * len + first;
            // SAFETY: the phase rule; the calling thread took these rows.
            let up = unsafe { self.work.up.get_mut(start..start + values.len()) };
            put(gate_up.up, up, first, values);
        });
        for index in 0..places.count() {
            let slot = places.slot(index);
            // SAFETY: the phase rule; these rows were written just above.
            let up = unsafe { self.work.up.get(place(slot)) };
            apply_gate(self.isa, gate_up.activation, hidden(slot, rows.clone()), up);
        }
    }

    /// Routes each column to its experts and runs them. An item of work is an
    /// expert that some column uses and a chunk of its rows.
    fn experts(&self, member: &Member<'_>, layer: &Layer, experts: &Experts) -> Result<(), Halt> {
        let work = &self.work;
        let used = experts.routing.used;
        let router = Product {
            linear: &experts.router,
            out: &work.routes.logits,
        };
        self.products(member, &work.normed, &[router]);
        self.end(member, Operation::Router)?;
        for _ in member.chunks(1, 1) {
            self.assign(experts);
        }
        self.end(member, Operation::Choice)?;

        let hidden = experts.up.rows();
        self.each_assignment(member, experts.count, hidden, |expert, slots, rows| {
            let gate = linear(experts.gate.expert(expert));
            let up = linear(experts.up.expert(expert));
            let gate_up = GateUp {
                gate: Some(&gate),
                up: &up,
                activation: layer.activation,
            };
            let places = Places::Slots {
                slots,
                per_column: used,
                columns: self.columns(),
            };
            self.gate_up_rows(member, &gate_up, places, rows);
        });
        self.end(member, Operation::ExpertsGateUp)?;

        let down = experts.down.stack();
        if kind(down) == ActivationKind::Q8 {
            self.quantize(member, &work.hidden, self.columns() * used, hidden);
            self.end(member, Operation::ExpertsQuantize)?;
        }
        self.each_assignment(
            member,
            experts.count,
            self.model.width,
            |expert, slots, rows| {
                let linear = linear(experts.down.expert(expert));
                let product = Product {
                    linear: &linear,
                    out: &work.ffn_out,
                };
                let places = Places::Slots {
                    slots,
                    per_column: 1,
                    columns: self.columns() * used,
                };
                self.product_rows(member, &work.hidden, places, &product, rows);
            },
        );
        self.end(member, Operation::ExpertsDown)
    }

    /// Chooses each column's experts and lists each expert's columns.
    fn assign(&self, experts: &Experts) {
        let routes = &self.work.routes;
        let (count, used, columns) = (experts.count, experts.routing.used, self.columns());
        // SAFETY: the phase's one item is this thread's.
        let (logits, chosen, weights, starts, assigned) = unsafe {
            (
                routes.logits.get_mut(0..columns * count),
                routes.experts.get_mut(0..columns * used),
                routes.weights.get_mut(0..columns * used),
                routes.starts.get_mut(0..count + 1),
                routes.assigned.get_mut(0..columns * used),
            )
        };
        starts.fill(0);
        for column in 0..columns {
            let slots = column * used..(column + 1) * used;
            let logits = &mut logits[column * count..(column + 1) * count];
            let (chosen, weights) = (&mut chosen[slots.clone()], &mut weights[slots]);
            route(self.isa, experts.routing, logits, chosen, weights);
            for &expert in &*chosen {
                starts[expert as usize + 1] += 1;
            }
        }
        for expert in 0..count {
            starts[expert + 1] += starts[expert];
        }
        // Placed from the back, so that `starts` ends up at the beginnings and
        // the slots of an expert in the order of the columns.
        for slot in (0..columns * used).rev() {
            let start = &mut starts[chosen[slot] as usize + 1];
            *start -= 1;
            assigned[*start as usize] = slot as u32;
        }
        starts.copy_within(1.., 0);
        starts[count] = (columns * used) as u32;
    }

    /// Calls `run(expert, slots, rows)` for the pieces of work that fall to
    /// this thread. Ends without a barrier.
    fn each_assignment(
        &self,
        member: &Member<'_>,
        experts: usize,
        rows: usize,
        run: impl Fn(usize, &[u32], Range<usize>),
    ) {
        // Enough pieces to even out threads of unequal speed, none so small
        // that taking it costs more than it does.
        let pieces = member.threads() * 8;
        let grain = (rows / pieces).clamp(16, 256).next_multiple_of(16);
        let chunks = rows.div_ceil(grain);
        let routes = &self.work.routes;
        for items in member.chunks(experts * chunks, 1) {
            // SAFETY: the routes were written in an earlier phase, and stay as
            // they are while this thread has items of this one.
            let (starts, assigned) = unsafe {
                (
                    routes.starts.get(0..experts + 1),
                    routes.assigned.get(0..routes.assigned.len()),
                )
            };
            for item in items {
                let (expert, chunk) = (item / chunks, item % chunks);
                let slots = starts[expert] as usize..starts[expert + 1] as usize;
                let rows = chunk * grain..rows.min((chunk + 1) * grain);
                if !slots.is_empty() {
                    run(expert, &assigned[slots], rows);
                }
            }
        }
    }

    /// The expert that all columns go through, besides those chosen.
    fn shared_expert(
        &self,
        member: &Member<'_>,
        layer: &Layer,
        shared: &SharedExpert,
    ) -> Result<(), Halt> {
        let weight = linear(shared.weight.clone());
        let product = Product {
            linear: &weight,
            out: &self.work.shared_weight,
        };
        self.products(member, &self.work.normed, &[product]);
        self.end(member, Operation::SharedWeight)?;
        let out = &self.work.shared_out;
        let gate_up = GateUp::of(&shared.block, layer.activation);
        self.dense(member, &gate_up, &shared.block.down, out, &SHARED)
    }

    /// Adds what the layer's last block gave to the residual stream `x`. The
    /// caller took the column.
    pub(super) fn add_feed_forward(&self, layer: &Layer, column: usize, x: &mut [f32]) {
        let width = self.model.width;
        let work = &self.work;
        let part = |index: usize| index * width..(index + 1) * width;
        if layer.parallel {
            // SAFETY: the phase rule; the calling thread took the column.
            let out = unsafe { work.attention_out.get_mut(part(column)) };
            self.add_block(layer, layer.post_attention_norm.as_ref(), out, x);
        }
        let out = match &layer.ffn {
            // SAFETY: the phase rule, as above.
            FeedForward::Dense(_) => unsafe { work.ffn_out.get_mut(part(column)) },
            FeedForward::Experts(experts) => {
                let used = experts.routing.used;
                let slots = column * used..(column + 1) * used;
                // SAFETY: the phase rule; a column's slots are its own, and
                // the attention's output has been added already.
                let (weights, sum) = unsafe {
                    (
                        work.routes.weights.get(slots.clone()),
                        work.attention_out.get_mut(part(column)),
                    )
                };
                sum.fill(0.0);
                for (slot, &weight) in slots.zip(weights) {
                    // SAFETY: written in an earlier phase.
                    add_scaled(self.isa, sum, weight, unsafe {
                        work.ffn_out.get(part(slot))
                    });
                }
                if experts.shared.is_some() {
                    // SAFETY: written in an earlier phase.
                    let (weight, out) = unsafe {
                        (
                            work.shared_weight.get(column..column + 1)[0],
                            work.shared_out.get(part(column)),
                        )
                    };
                    let mut weight = [weight];
                    sigmoid(self.isa, &mut weight);
                    add_scaled(self.isa, sum, weight[0], out);
                }
                sum
            }
        };
        self.add_block(layer, layer.post_ffn_norm.as_ref(), out, x);
    }
}

/// A matrix without a bias.
fn linear(weight: Matrix) -> Linear {
    Linear { weight, bias: None }
}
