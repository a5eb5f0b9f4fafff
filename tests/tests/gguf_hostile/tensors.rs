//! The tensors' descriptions and places.

use crate::allocator::read;
use crate::bytes::{Bytes, F32, Q4_0, refused};

#[test]
fn gguf_empty_tensor_name() {
    refused(
        &Bytes::header(1, 0).tensor("", &[1, 1], F32, 0).data(4),
        "tensor number 0 has an empty name",
    );
}

#[test]
fn gguf_long_tensor_name() {
    refused(
        &Bytes::header(1, 0)
            .tensor(&"n".repeat(257), &[1], F32, 0)
            .data(4),
        "the name of tensor number 0 is 257 bytes long; at most 256 are allowed",
    );
}

#[test]
fn gguf_duplicate_tensor() {
    let file = Bytes::header(2, 0).tensor("t", &[1], F32, 0);
    refused(
        &file.tensor("t", &[1], F32, 32).data(64),
        "tensor `t` occurs twice",
    );
}

#[test]
fn gguf_no_dimensions() {
    refused(
        &Bytes::header(1, 0).tensor("t", &[], F32, 0).data(64),
        "tensor `t` has 0 dimensions; 1 to 4 are allowed",
    );
}

#[test]
fn gguf_too_many_dimensions() {
    refused(
        &Bytes::header(1, 0).tensor("t", &[1; 5], F32, 0).data(64),
        "tensor `t` has 5 dimensions; 1 to 4 are allowed",
    );
    refused(
        &Bytes::header(1, 0).string("t").u32(u32::MAX).data(64),
        "tensor `t` has 4294967295 dimensions; 1 to 4 are allowed",
    );
}

#[test]
fn gguf_zero_dimension() {
    refused(
        &Bytes::header(1, 0).tensor("t", &[4, 0, 2], F32, 0).data(64),
        "tensor `t` has size 0 in dimension 1",
    );
}

#[test]
fn gguf_dimensions_that_overflow() {
    for dims in [
        vec![u64::MAX],
        vec![1 << 62],
        vec![1 << 32, 1 << 32],
        vec![1 << 16; 4],
        vec![2, u64::MAX],
    ] {
        refused(
            &Bytes::header(1, 0).tensor("t", &dims, F32, 0).data(64),
            &format!("the dimensions {dims:?} of tensor `t` overflow"),
        );
    }
}

#[test]
fn gguf_values_that_overflow_though_their_bytes_do_not() {
    let dims = [1 << 32, 1 << 32];
    refused(
        &Bytes::header(1, 0).tensor("t", &dims, Q4_0, 0).data(64),
        &format!("the dimensions {dims:?} of tensor `t` overflow"),
    );
}

#[test]
fn gguf_unknown_tensor_type() {
    for number in [4, 5, 1000, u32::MAX] {
        refused(
            &Bytes::header(1, 0).tensor("t", &[32], number, 0).data(64),
            &format!("tensor `t` has the unknown type number {number}"),
        );
    }
}

#[test]
fn gguf_row_of_half_a_block() {
    refused(
        &Bytes::header(1, 0).tensor("t", &[48, 2], Q4_0, 0).data(64),
        "tensor `t` has rows of 48 values, not a multiple of the 32 in a block of Q4_0",
    );
}

#[test]
fn gguf_offset_past_the_end() {
    for (offset, len) in [(32, 99), (1 << 40, 160)] {
        refused(
            &Bytes(
                Bytes::header(1, 0)
                    .tensor("t", &[1], F32, offset)
                    .data(96)
                    .0[..len]
                    .to_vec(),
            ),
            &format!(
                "tensor `t` needs 4 bytes at offset {offset} of the data, \
                 past the end of the file ({len} bytes); was it downloaded completely?"
            ),
        );
    }
}

#[test]
fn gguf_offset_that_overflows() {
    let offset = u64::MAX - 31;
    refused(
        &Bytes::header(1, 0).tensor("t", &[1], F32, offset).data(64),
        &format!(
            "tensor `t` needs 4 bytes at offset {offset} of the data, \
             past the end of the file (128 bytes); was it downloaded completely?"
        ),
    );
}

#[test]
fn gguf_offset_that_is_not_aligned() {
    refused(
        &Bytes::header(1, 0).tensor("t", &[1], F32, 4).data(64),
        "tensor `t` begins at offset 4, not a multiple of the alignment 32",
    );
}

#[test]
fn gguf_tensors_that_overlap() {
    let file = Bytes::header(2, 0).tensor("late", &[8], F32, 32);
    refused(
        &file.tensor("early", &[9], F32, 0).data(128),
        "the data of tensor `late` overlaps that of tensor `early`",
    );
}

#[test]
fn gguf_tensors_in_any_order_with_gaps() {
    let file = Bytes::header(2, 0).tensor("late", &[8], F32, 96);
    let file = file.tensor("early", &[8], F32, 0).data(128);
    let header = read(&file.0).unwrap();
    let offsets: Vec<_> = header.tensors.iter().map(|tensor| tensor.offset).collect();
    assert_eq!(offsets, [header.data_offset + 96, header.data_offset]);
}
