//! The attention block's phases.

use super::{
    attending::Attending,
    pass::{Pass, Product, kind, takes_q8},
};
use crate::{
    kv::KvPlace,
    model::{Attention, Dense, FeedForward, HeadNorm, Layer, NormSpan, Operation},
};
use outrigger_kernels::{
    cpu::{dot::ActivationKind, rope::rotate},
    team::{Halt, Member, SharedBuffer},
};

impl Pass {
    /// From the normed input to the residual stream and the normed input of
    /// the feed-forward block; with blocks side by side, to `attention_out`.
    pub(super) fn attention(
        &self,
        member: &Member<'_>,
        index: usize,
        layer: &Layer,
    ) -> Result<(), Halt> {
        let work = &self.work;
        let attention = &layer.attention;
        let products = [
            (&attention.query, &work.queries),
            (&attention.key, &work.keys),
            (&attention.value, &work.values),
        ];
        let products = products.map(|(linear, out)| Product { linear, out });
        self.products(member, &work.normed, &products);
        self.end(member, Operation::QueryKeyValue)?;

        self.norm_all_heads(member, attention)?;
        let output = &attention.output;
        let q8 = kind(&output.weight) == ActivationKind::Q8;
        let task = Attending::new(self, index, attention, q8);
        task.run(member)?;

        if q8 && !task.quantizes() {
            self.quantize(member, &work.mixed, self.columns(), output.weight.cols());
            self.end(member, Operation::AttentionQuantize)?;
        }
        let out = &work.attention_out;
        self.products(
            member,
            &work.mixed,
            &[Product {
                linear: output,
                out,
            }],
        );
        self.end(member, Operation::AttentionOutput)?;

        if layer.parallel {
            return Ok(());
        }
        for range in member.chunks(self.columns(), 1) {
            for column in range {
                self.enter_feed_forward(layer, column);
            }
        }
        self.end(member, Operation::FeedForwardNorm)
    }

    /// Adds the attention block's output and norms the sum. The caller took
    /// the column.
    fn enter_feed_forward(&self, layer: &Layer, column: usize) {
        let width = self.model.width;
        let part = column * width..(column + 1) * width;
        // SAFETY: the phase rule; the calling thread took the column.
        let (out, x) = unsafe { (self.work.attention_out.get_mut(part), self.residual(column)) };
        self.add_block(layer, layer.post_attention_norm.as_ref(), out, x);
        let q8 = match &layer.ffn {
            FeedForward::Dense(block) => block_takes_q8(block),
            FeedForward::Experts(e) => {
                takes_q8(&[&e.router.weight, e.gate.stack(), e.up.stack()])
                    || e.shared
                        .as_ref()
                        .is_some_and(|s| takes_q8(&[&s.weight]) || block_takes_q8(&s.block))
            }
        };
        self.norm_into(&self.work.normed, column, layer.ffn_norm.as_ref(), x, q8);
    }

    /// Norms of queries and keys that run over all heads together.
    fn norm_all_heads(&self, member: &Member<'_>, attention: &Attention) -> Result<(), Halt> {
        let over_all = |norm: &Option<HeadNorm>| {
            let norm = norm.as_ref()?;
            (norm.span == NormSpan::AllHeads).then_some(norm.norm.clone())
        };
        let norms = [
            (
                over_all(&attention.query_norm),
                &self.work.queries,
                attention.heads,
            ),
            (
                over_all(&attention.key_norm),
                &self.work.keys,
                attention.kv_heads,
            ),
        ];
        if norms.iter().all(|(norm, ..)| norm.is_none()) {
            return Ok(());
        }
        for range in member.chunks(self.columns(), 1) {
            for column in range {
                for (norm, buffer, heads) in &norms {
                    let Some(norm) = norm else { continue };
                    let len = heads * attention.key_len;
                    // SAFETY: the phase rule; this thread took the column.
                    let x = unsafe { buffer.get_mut(column * len..(column + 1) * len) };
                    self.norm_in_place(x, &norm.weight, norm.bias.as_deref());
                }
            }
        }
        self.end(member, Operation::QueryKeyNorm)
    }

    /// Norms and rotates a column's key of one KV head and the queries that
    /// share it, and puts key and value into the cache. The caller took the
    /// column's head.
    pub(super) fn rotate_and_store(
        &self,
        index: usize,
        attention: &Attention,
        column: usize,
        kv_head: usize,
    ) {
        let (kv_heads, key_len) = (attention.kv_heads, attention.key_len);
        let group = attention.heads / kv_heads;
        for head in kv_head * group..(kv_head + 1) * group {
            let norm = attention.query_norm.as_ref();
            let place = (column, head, attention.heads);
            self.turn(attention, norm, &self.work.queries, place);
        }
        let norm = attention.key_norm.as_ref();
        let place = (column, kv_head, kv_heads);
        let key = self.turn(attention, norm, &self.work.keys, place);
        debug_assert_eq!(key.len(), key_len);
        let start = (column * kv_heads + kv_head) * attention.value_len;
        // SAFETY: values were written in an earlier phase.
        let value = unsafe { self.work.values.get(start..start + attention.value_len) };
        let at = KvPlace {
            sequence: self.column(column).sequence,
            layer: index,
            position: self.column(column).position,
        };
        // SAFETY: the phase rule; a position is one column of the batch, and
        // the calling thread took its head.
        let stored = unsafe { self.kv.store(at, kv_head, key, value) };
        debug_assert!(stored, "the stage prepared all positions of the batch");
    }

    /// Norms and rotates one head of `buffer`; `place` is its column, its
    /// index and the number of heads. The caller took the head.
    fn turn<'a>(
        &self,
        attention: &Attention,
        norm: Option<&HeadNorm>,
        buffer: &'a SharedBuffer<f32>,
        place: (usize, usize, usize),
    ) -> &'a [f32] {
        let (column, head, heads) = place;
        let len = attention.key_len;
        let start = (column * heads + head) * len;
        // SAFETY: the phase rule; the calling thread took the head.
        let x = unsafe { buffer.get_mut(start..start + len) };
        if let Some(HeadNorm { norm, span }) = norm {
            let part = match span {
                NormSpan::Head => Some(0..len),
                NormSpan::EachHead => Some(head * len..(head + 1) * len),
                NormSpan::AllHeads => None,
            };
            if let Some(part) = part {
                let bias = norm.bias.as_ref().map(|bias| &bias[part.clone()]);
                self.norm_in_place(x, &norm.weight[part], bias);
            }
        }
        let rope = &self.model.ropes[attention.rope];
        let pairs = rope.frequencies.len();
        let part = column * pairs..(column + 1) * pairs;
        // SAFETY: angles were written in an earlier phase.
        let (cos, sin) = unsafe {
            (
                self.work.cosines[attention.rope].get(part.clone()),
                self.work.sines[attention.rope].get(part),
            )
        };
        rotate(self.isa, x, rope.pairing, cos, sin);
        x
    }
}

fn block_takes_q8(block: &Dense) -> bool {
    let gate = block.gate.as_ref();
    takes_q8(&[&block.up.weight]) || gate.is_some_and(|gate| takes_q8(&[&gate.weight]))
}
