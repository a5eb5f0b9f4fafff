//! The header and the metadata.

use crate::allocator::read;
use crate::bytes::{Bytes, F32, refused};

#[test]
fn gguf_bad_magic() {
    refused(
        &Bytes(b"GGML\x03\0\0\0".to_vec()),
        "this is not a GGUF file: it begins with the bytes [47, 47, 4d, 4c] instead of `GGUF`",
    );
}

#[test]
fn gguf_empty_file() {
    refused(
        &Bytes(Vec::new()),
        "the file is truncated: it ends after 0 bytes, inside the header",
    );
}

#[test]
fn gguf_version_0() {
    refused(
        &Bytes(b"GGUF\0\0\0\0".to_vec()),
        "GGUF version 0 is not supported; versions 2 and 3 are",
    );
}

#[test]
fn gguf_version_1() {
    refused(
        &Bytes(b"GGUF\x01\0\0\0".to_vec()),
        "GGUF version 1 is not supported; versions 2 and 3 are",
    );
}

#[test]
fn gguf_version_of_the_future() {
    refused(
        &Bytes(b"GGUF\x04\0\0\0".to_vec()),
        "GGUF version 4 is not supported; versions 2 and 3 are",
    );
}

#[test]
fn gguf_big_endian() {
    refused(
        &Bytes(b"GGUF\0\0\0\x03".to_vec()),
        "this is a big-endian GGUF file; convert it with gguf_convert_endian.py to little-endian",
    );
}

#[test]
fn gguf_version_2_reads_like_3() {
    let mut file = Bytes::header(1, 1)
        .u32_key("a", 5)
        .tensor("t", &[2], F32, 0)
        .data(8);
    let third = read(&file.0).unwrap();
    file.0[4] = 2;
    let second = read(&file.0).unwrap();
    assert_eq!((second.version, third.version), (2, 3));
    assert_eq!(second.metadata, third.metadata);
    assert_eq!(second.tensors, third.tensors);
}

#[test]
fn gguf_tensor_count_of_minus_1() {
    refused(
        &Bytes::header(u64::MAX, 0),
        "the header has 18446744073709551615 tensors, more than the file's 24 bytes can hold",
    );
}

#[test]
fn gguf_key_count_of_minus_1() {
    refused(
        &Bytes::header(0, u64::MAX),
        "the header has 18446744073709551615 metadata keys, more than the file's 24 bytes can hold",
    );
}

#[test]
fn gguf_tensor_count_that_only_keys_had_room_for() {
    refused(
        &Bytes::header(2, 1)
            .string("key")
            .u32(8)
            .string(&"x".repeat(99)),
        "the header has 2 tensors, more than the file's 146 bytes can hold",
    );
}

#[test]
fn gguf_empty_key() {
    refused(
        &Bytes::header(0, 1).u32_key("", 1),
        "metadata key number 0 is empty",
    );
}

#[test]
fn gguf_duplicate_key() {
    refused(
        &Bytes::header(0, 2).u32_key("twice", 1).u32_key("twice", 2),
        "metadata key `twice` occurs twice",
    );
}

#[test]
fn gguf_long_key() {
    refused(
        &Bytes::header(0, 1).u32_key(&"k".repeat(65_536), 1),
        "metadata key number 0 is 65536 bytes long; at most 65535 are allowed",
    );
}

#[test]
fn gguf_key_that_is_not_utf8() {
    refused(
        &Bytes::header(0, 1).u64(2).raw(&[0xc3, 0x28]).u32(4).u32(1),
        "metadata key number 0 has a string that is not valid UTF-8",
    );
}

#[test]
fn gguf_value_that_is_not_utf8() {
    refused(
        &Bytes::header(0, 1)
            .string("name")
            .u32(8)
            .u64(1)
            .raw(&[0xff]),
        "metadata key `name` has a string that is not valid UTF-8",
    );
}

#[test]
fn gguf_key_with_control_characters_is_shown_escaped() {
    refused(
        &Bytes::header(0, 1)
            .string("a\u{1b}[2J\u{202e}ü\"b")
            .u32(77)
            .u64(0),
        "metadata key `a\\u{1b}[2J\\u{202e}ü\"b` has the unknown value type 77",
    );
}

#[test]
fn gguf_alignment_of_wrong_type() {
    refused(
        &Bytes::header(0, 1)
            .string("general.alignment")
            .u32(10)
            .u64(32),
        "metadata key `general.alignment` is of type u64, but must be u32",
    );
}

#[test]
fn gguf_alignment_that_is_an_array() {
    refused(
        &Bytes::header(0, 1)
            .array_key("general.alignment", 4, 1)
            .u32(32),
        "metadata key `general.alignment` is of type array, but must be u32",
    );
}

#[test]
fn gguf_alignment_out_of_bounds() {
    for value in [0, 1, 4, 33, 1 << 22, 1 << 31, u32::MAX] {
        refused(
            &Bytes::header(0, 1).u32_key("general.alignment", value),
            &format!(
                "metadata key `general.alignment` is {value}; \
                 a power of two from 8 to 2097152 is needed"
            ),
        );
    }
}

#[test]
fn gguf_unknown_value_type() {
    refused(
        &Bytes::header(0, 1).string("key").u32(13).u64(0),
        "metadata key `key` has the unknown value type 13",
    );
}

#[test]
fn gguf_array_of_unknown_type() {
    refused(
        &Bytes::header(0, 1).array_key("key", 0xffff_ffff, 1).u32(0),
        "metadata key `key` has the unknown value type 4294967295",
    );
}

/// An array that says strings and holds numbers: the first number is a length.
#[test]
fn gguf_array_of_another_type_than_it_says() {
    refused(
        &Bytes::header(0, 1)
            .array_key("key", 8, 2)
            .u32(7)
            .u32(7)
            .u32(7)
            .u32(7),
        "metadata key `key` has 30064771079 bytes in a string, \
         more than the file's 67 bytes can hold",
    );
}

#[test]
fn gguf_array_count_of_minus_1() {
    for element in 0..13 {
        refused(
            &Bytes::header(0, 1).array_key("key", element, u64::MAX),
            "metadata key `key` has 18446744073709551615 array elements, \
             more than the file's 51 bytes can hold",
        );
    }
}

#[test]
fn gguf_array_count_that_overflows_in_bytes() {
    refused(
        &Bytes::header(0, 1).array_key("key", 12, 1 << 61),
        "metadata key `key` has 2305843009213693952 array elements, \
         more than the file's 51 bytes can hold",
    );
}

#[test]
fn gguf_arrays_nested_without_end() {
    let nest = |depth: usize| {
        let file = Bytes::header(0, 1).string("key").u32(9);
        let file = (1..depth).fold(file, |file, _| file.u32(9).u64(1));
        file.u32(0).u64(1).raw(&[7])
    };
    assert!(read(&nest(4).0).is_ok());
    let sentence = "metadata key `key` nests arrays more than 4 deep";
    refused(&nest(5), sentence);
    refused(&nest(100_000), sentence);
}

#[test]
fn gguf_boolean_of_7() {
    let sentence = "metadata key `key` has a boolean of value 7; only 0 and 1 are allowed";
    refused(
        &Bytes::header(0, 1).string("key").u32(7).raw(&[7]),
        sentence,
    );
    refused(
        &Bytes::header(0, 1).array_key("key", 7, 2).raw(&[1, 7]),
        sentence,
    );
}

#[test]
fn gguf_gigabyte_string() {
    refused(
        &Bytes::header(0, 1).string("key").u32(8).u64(1 << 30),
        "metadata key `key` has 1073741824 bytes in a string, \
         more than the file's 47 bytes can hold",
    );
    refused(
        &Bytes::header(0, 1).u64(1 << 30).u64(0),
        "metadata key number 0 has 1073741824 bytes in a string, \
         more than the file's 40 bytes can hold",
    );
    refused(
        &Bytes::header(1, 0).u64(1 << 30).raw(&[0; 40]),
        "the name of tensor number 0 has 1073741824 bytes in a string, \
         more than the file's 72 bytes can hold",
    );
}
