//! Stream priorities: what waits when the link is full. Higher goes first.

/// Hello, cancel, heartbeat, goodbye.
pub const CONTROL: i32 = 2;
/// Steps of generated tokens, for which a user waits.
pub const DECODE: i32 = 1;
/// Prompts and the states of prompts.
pub const PREFILL: i32 = 0;
