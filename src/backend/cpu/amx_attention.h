#pragma once
// Prefill attention for processors with AMX; see amx_attention.cc. The table of kernels.cc puts it in.

#include "backend/cpu/kernels.h"

namespace kvpareto {

// As CpuKernels::attend_block; `vectors` decode rows and finish them.
void attend_block_amx(const AttendJob& job, const CpuKernels& vectors, int64_t kv_head, int64_t begin, int64_t count,
                      float* scratch);

}  // namespace kvpareto
