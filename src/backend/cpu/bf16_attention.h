#pragma once
// Prefill attention for processors with products of bf16 in vectors; see bf16_attention.cc. The table of kernels.cc
// puts it in.

#include "backend/cpu/kernels.h"

namespace kvpareto {

// As CpuKernels::attend_block, of keys and values that are stored as bf16; `vectors` decode rows and finish them.
void attend_block_bf16(const AttendJob& job, const CpuKernels& vectors, int64_t kv_head, int64_t begin, int64_t count,
                       float* scratch);

// For keys that are decoded and off by more than bf16 rounds, or are bf16, whatever the values.
const RowProducts& bf16_row_products();

}  // namespace kvpareto
