#include "backend/cpu/kernels.h"

#include <immintrin.h>

#include <type_traits>

#include "backend/cpu/amx_attention.h"
#include "backend/cpu/amx_tiles.h"
#include "backend/cpu/bf16_attention.h"
#include "backend/cpu/power_of_two.h"

// "portable" is Highway's scalar target, for any x86-64: its emulated vectors
// are broken by g++ 12.2.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// Kernels of AVX-512 run only where there is VNNI (cpu_instruction_sets()).
#if HWY_TARGET == HWY_AVX3
#undef HWY_TARGET_STR
#define HWY_TARGET_STR HWY_TARGET_STR_AVX3 ",avx512vnni"
#endif
//

#include "backend/cpu/rows-inl.h"
//
#include "backend/cpu/codes-inl.h"
//
#include "backend/cpu/unpacking-inl.h"
//
#include "backend/cpu/packing-inl.h"
//
#include "backend/cpu/spans-inl.h"
//
#include "backend/cpu/decoding-inl.h"
//
#include "backend/cpu/products-inl.h"
//
#include "backend/cpu/rounding-inl.h"
//
#include "backend/cpu/code_products-inl.h"
//
#include "backend/cpu/exact_rows-inl.h"
//
#include "backend/cpu/turning-inl.h"
//
#include "backend/cpu/turned_codes-inl.h"
//
#include "backend/cpu/turned_products-inl.h"
//
#include "backend/cpu/block_rows-inl.h"
//
#include "backend/cpu/block_products-inl.h"
//
#include "backend/cpu/attention-inl.h"
//
#include "backend/cpu/rounded_queries-inl.h"
//
#include "backend/cpu/split_products-inl.h"
//
#include "backend/cpu/split_attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvpareto::HWY_NAMESPACE {
const CpuKernels kKernels = {rms_norm,   swiglu,       rope,          floats_to_bf16, bf16_to_floats,
                             gemv,       transform,    encode,        encode_span,    decode,
                             finish_row, attend_block, attend_splits, join_splits,    96};
}  // namespace kvpareto::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvpareto {

std::vector<std::string> cpu_instruction_sets() {
  std::vector<std::string> sets = {"portable"};
  const int64_t supported = hwy::SupportedTargets();
  if (supported & HWY_AVX2) sets.emplace_back("avx2");
  if (!(supported & HWY_AVX3) || !__builtin_cpu_supports("avx512vnni")) return sets;
  sets.emplace_back("avx512");
  if (!__builtin_cpu_supports("avx512bf16")) return sets;
  sets.emplace_back("avx512_bf16");
  if (amx_allowed()) sets.emplace_back("amx_bf16");
  return sets;
}

namespace {
CpuKernels bf16_kernels() {
  CpuKernels table = N_AVX3::kKernels;
  table.attend_block = [](const AttendJob& job, int64_t kv_head, int64_t begin, int64_t count, float* scratch) {
    const bool plain = job.keys.plain_bf16() && job.values.plain_bf16() && job.head_dim % 32 == 0;
    if (!plain) return N_AVX3::attend_block_by(&bf16_row_products(), job, kv_head, begin, count, scratch);
    attend_block_bf16(job, N_AVX3::kKernels, kv_head, begin, count, scratch);
  };
  return table;
}

CpuKernels amx_kernels() {
  CpuKernels table = N_AVX3::kKernels;
  table.attend_block = [](const AttendJob& job, int64_t kv_head, int64_t begin, int64_t count, float* scratch) {
    attend_block_amx(job, N_AVX3::kKernels, kv_head, begin, count, scratch);
  };
  table.block_rows = 384;
  return table;
}
}  // namespace

const CpuKernels& cpu_kernels(const std::string& instruction_set) {
  static const CpuKernels kBf16 = bf16_kernels(), kAmx = amx_kernels();
  if (instruction_set == "amx_bf16") return kAmx;
  if (instruction_set == "avx512_bf16") return kBf16;
  if (instruction_set == "avx512") return N_AVX3::kKernels;
  if (instruction_set == "avx2") return N_AVX2::kKernels;
  return HWY_STATIC_DISPATCH(kKernels);
}

const LinearKernels& cpu_linear_kernels(const std::string& instruction_set) {
  if (instruction_set == "portable") return plain_linear_kernels();
  return instruction_set == "avx2" ? avx2_linear_kernels() : vnni_linear_kernels();
}

}  // namespace kvpareto
#endif  // HWY_ONCE
