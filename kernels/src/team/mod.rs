//! The thread team: one program on every thread, barriers inside.
