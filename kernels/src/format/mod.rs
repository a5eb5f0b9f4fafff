//! Quantized block formats: their sizes, their names, and exact dequantization.
