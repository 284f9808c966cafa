#include "backend/cpu/machine_limits.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

#include "backend/cpu/amx_tiles.h"
#include "backend/host_memory.h"
#include "base/parallel.h"

namespace kvpareto {
namespace {

constexpr int64_t kRounds = 400000;
constexpr int kSums = 12;  // independent sums: latency times throughput of a fused multiply-add, twice over

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// Keeps `value` alive without storing it. Inlined always: by itself it may not use the wide registers of its callers.
template <typename T>
[[gnu::always_inline]] inline void keep(T& value) {
  __asm__ volatile("" : "+x"(value));
}

[[gnu::target("avx2,fma")]] void multiply_avx2() {
  __m256 sums[kSums], factor = _mm256_set1_ps(0.5f);
  for (auto& sum : sums) sum = _mm256_set1_ps(1.0f);
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) sums[s] = _mm256_fmadd_ps(sums[s], factor, factor);
    __asm__ volatile("" : "+x"(factor));
  }
  for (auto& sum : sums) __asm__ volatile("" : "+x"(sum));
}

[[gnu::target("avx512f")]] void multiply_avx512() {
  __m512 sums[kSums], factor = _mm512_set1_ps(0.5f);
  for (auto& sum : sums) sum = _mm512_set1_ps(1.0f);
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) sums[s] = _mm512_fmadd_ps(sums[s], factor, factor);
    __asm__ volatile("" : "+v"(factor));
  }
  for (auto& sum : sums) __asm__ volatile("" : "+v"(sum));
}

// The portable kernels are scalar: a product and a sum of SSE2.
void multiply_scalar() {
  float sums[kSums], factor = 0.5f;
  for (auto& sum : sums) sum = 1.0f;
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) {
      sums[s] = sums[s] * factor + factor;
      keep(sums[s]);  // against vectors
    }
  }
}

[[gnu::target("avx512f,avx512bf16")]] void multiply_bf16() {
  __m512 sums[kSums];
  for (auto& sum : sums) sum = _mm512_set1_ps(1.0f);
  __m512i bits = _mm512_set1_epi16(0x3f00);
  for (int64_t i = 0; i < kRounds; ++i) {
    const auto factor = reinterpret_cast<__m512bh>(bits);
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) sums[s] = _mm512_dpbf16_ps(sums[s], factor, factor);
    __asm__ volatile("" : "+v"(bits));
  }
  for (auto& sum : sums) __asm__ volatile("" : "+v"(sum));
}

// Products of bytes, four to a sum: two instructions and an addition in AVX2, one with VNNI. Codes of four bits need
// the second instruction once in eight steps, so their products may come out above this.
[[gnu::target("avx2")]] void multiply_bytes_avx2() {
  __m256i sums[kSums], factor = _mm256_set1_epi8(3);
  const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 12
  for (int s = 0; s < kSums; ++s) sums[s] = _mm256_setzero_si256();
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) {
      __m256i products;  // in assembly, since a compiler does equal ones once for all
      __asm__ volatile("vpmaddubsw %2, %2, %1\n\tvpmaddwd %3, %1, %1\n\tvpaddd %1, %0, %0"
                       : "+x"(sums[s]), "=&x"(products)
                       : "x"(factor), "x"(ones));
    }
  }
#pragma GCC unroll 12
  for (int s = 0; s < kSums; ++s) keep(sums[s]);
}

[[gnu::target("avx512f,avx512vnni")]] void multiply_bytes_vnni() {
  __m512i sums[kSums], factor = _mm512_set1_epi8(3);
  // Every loop over them unrolled, or g++ 12 keeps them in memory.
#pragma GCC unroll 12
  for (int s = 0; s < kSums; ++s) sums[s] = _mm512_setzero_si512();
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) __asm__ volatile("vpdpbusd %1, %1, %0" : "+v"(sums[s]) : "v"(factor));
  }
#pragma GCC unroll 12
  for (int s = 0; s < kSums; ++s) __asm__ volatile("" : "+v"(sums[s]));
}

[[gnu::target("amx-tile,amx-bf16")]] void multiply_amx() {
  TileConfiguration().load();
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  for (int64_t i = 0; i < kRounds / 8; ++i) {
    _tile_dpbf16ps(0, 4, 5);
    _tile_dpbf16ps(1, 4, 5);
    _tile_dpbf16ps(2, 4, 5);
    _tile_dpbf16ps(3, 4, 5);
  }
  _tile_release();
}

// Best of five, since anything else on the machine only makes it slower.
template <typename Body>
double rate(double work_of_one_thread, int threads, Body body) {
  double best = 0;
  for (int pass = 0; pass < 5; ++pass) {
    const auto begin = Clock::now();
#pragma omp parallel num_threads(threads)
    body();
    best = std::max(best, work_of_one_thread * threads / seconds_since(begin));
  }
  return best;
}

// Reads `count` words as `kStreams` streams side by side; with prefetching ahead of each, or none.
template <int kStreams, int kAhead>
void read_streams(const uint64_t* words, int64_t count) {
  __m128i sums[4] = {};
  const int64_t step = count / kStreams;
  for (int64_t i = 0; i < step; i += 8) {
#pragma GCC unroll 4
    for (int stream = 0; stream < kStreams; ++stream) {
      const uint64_t* from = words + stream * step + i;
      if constexpr (kAhead > 0) __builtin_prefetch(from + kAhead / 8);
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) {
        sums[s] = _mm_or_si128(sums[s], _mm_load_si128(reinterpret_cast<const __m128i*>(from + 2 * s)));
      }
    }
  }
  for (auto& sum : sums) keep(sum);
}

}  // namespace

double read_bandwidth(int threads) {
  constexpr int64_t kWords = int64_t{128} << 17;  // of 8 bytes: 128 MiB
  std::vector<uint64_t*> pieces(static_cast<size_t>(threads));
  for (auto& piece : pieces) {
    piece = static_cast<uint64_t*>(obtain_pages(kWords * 8));
    if (piece == nullptr) return 0;
    std::fill_n(piece, kWords, uint64_t{1});
  }
  const auto rate_of = [&](void (*read)(const uint64_t*, int64_t)) {
    return rate(kWords * 8.0, threads, [&] { read(pieces[static_cast<size_t>(thread_number())], kWords); });
  };
  // Which of them reaches the most differs from processor to processor.
  const double best =
      std::max({rate_of(read_streams<1, 0>), rate_of(read_streams<2, 3072>), rate_of(read_streams<4, 1024>)});
  for (uint64_t* piece : pieces) give_up_pages(piece, kWords * 8);
  return best;
}

double f32_peak(const char* instruction_set) {
  const std::string_view set = instruction_set;
  if (set == "portable") return rate(2.0 * kSums * kRounds, thread_count(), multiply_scalar);
  if (set == "avx2") return rate(16.0 * kSums * kRounds, thread_count(), multiply_avx2);
  return rate(32.0 * kSums * kRounds, thread_count(), multiply_avx512);
}

double bf16_peak(const char* instruction_set) {
  const std::string_view set = instruction_set;
  constexpr double kTileProducts = 2.0 * 16 * 16 * 32;
  if (set == "amx_bf16" && amx_allowed()) return rate(kTileProducts * 4 * (kRounds / 8), thread_count(), multiply_amx);
  if (set == "avx512_bf16" || set == "amx_bf16") return rate(64.0 * kSums * kRounds, thread_count(), multiply_bf16);
  return f32_peak(instruction_set);
}

double int8_peak(const char* instruction_set) {
  const std::string_view set = instruction_set;
  if (set == "portable") return f32_peak(instruction_set);
  if (set == "avx2") return rate(64.0 * kSums * kRounds, thread_count(), multiply_bytes_avx2);
  return rate(128.0 * kSums * kRounds, thread_count(), multiply_bytes_vnni);
}

}  // namespace kvpareto
