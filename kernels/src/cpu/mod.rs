//! Kernels that run on the CPU: products, norms, rotations, attention.
