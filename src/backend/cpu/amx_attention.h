#pragma once
// Prefill attention for processors with AMX; see amx_attention.cc. The table of kernels.cc puts it in.

#include "backend/cpu/kernels.h"

namespace kvpareto {

using DecodeRows = void (*)(const PackedSide& side, int64_t head, int64_t token, int64_t count, float* out);

// As CpuKernels::attend_block; `decode` is the table's.
void attend_block_amx(const AttendJob& job, DecodeRows decode, int64_t kv_head, int64_t begin, int64_t count,
                      float* scratch);

}  // namespace kvpareto
