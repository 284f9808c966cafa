#pragma once
// What this machine can do at most, measured in this process: the scale on which the kernel benchmarks print their
// results. Memory bandwidth of a shared machine changes by the minute, so it is measured beside what it is compared
// with.

namespace kvpareto {

// Bytes a second read from memory (128 MiB a thread), best of five passes.
double read_bandwidth(int threads);

// Floating-point operations a second of all threads: fused multiply-adds on registers in f32, in the widest vectors of
// an instruction set of cpu_instruction_sets() ...
double f32_peak(const char* instruction_set);
// ... and of bf16 products with f32 sums: AMX tiles, AVX-512 dot products, or else f32_peak().
double bf16_peak(const char* instruction_set);
// ... and of products of bytes with 32-bit sums that are exact for every code: vpmaddubsw and vpmaddwd in AVX2,
// vpdpbusd in AVX-512. Codes of four bits can pass it, as their sums fit 16 bits for a while.
double int8_peak(const char* instruction_set);

}  // namespace kvpareto
