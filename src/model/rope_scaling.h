#pragma once
// How a model's rotation is slowed down for contexts beyond those of its first training. All kinds end as one table
// (kv/rope.h), so that keys before RoPE know nothing of them.
//
//   linear   every pair by `factor` (arXiv 2306.15595)
//   llama3   pairs that turn less than once in the original context by `factor`, fast ones not at all (arXiv
//   2407.21783) yarn     the same idea with a ramp over the pairs, and scores of a larger magnitude (arXiv 2309.00071)
//
// To add a kind: one function and one line in the table of rope_scaling.cc.

#include "checkpoint/checkpoint.h"
#include "kv/rope.h"

namespace kvpareto {

// From metadata rope.freq_base and rope.scaling.*, or the tensor rope_freqs.weight [head_dim / 2], which GGUF files
// have instead of "llama3". Throws Error (kFailure): an unknown kind (the known ones listed), numbers that make no
// sense.
Rope read_rope(const Checkpoint& checkpoint, int head_dim);

// Tokens that the rotation reaches: `trained`, or with YaRN factor times the original context if that is more.
double scaled_context(const Checkpoint& checkpoint, double trained);

}  // namespace kvpareto
