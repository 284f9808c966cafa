#pragma once
// The CPU's kernels, one table an instruction set, chosen at run time. The vector code is written once over Highway
// (*-inl.h) and compiled for each target by kernels.cc.

#include <cstdint>
#include <string>
#include <vector>

#include "backend/cpu/linear_kernels.h"
#include "backend/cpu/tile_products.h"
#include "backend/packed_side.h"
#include "tensor/tensor.h"

namespace kvpareto {

// One attention call over one layer; what every piece of it shares.
struct AttendJob {
  Tensor queries;  // f32 [tokens, heads, head_dim]
  Tensor out;      // f32 or bf16, same shape
  int64_t first;   // position of the first query
  PackedSide keys, values;
  int heads, kv_heads, head_dim;
  int queries_per_block;  // tokens of one attend_block, see query_block()

  int group() const { return heads / kv_heads; }
};

// Of one query token and kv head: pieces [first, last) of its keys, and the partial result of the first.
struct SplitJob {
  int64_t kv_head, query, first, last;
  float* partials;
};

// Lanes of the widest vectors; rows of query blocks are multiples of it on every target.
inline constexpr int kRowMultiple = 16;
// Keys decoded at once; a tile is one block of the cache.
inline constexpr int kTile = kBlockTokens;
// Keys of one decode query whose scores become weights together: whole tiles, or one that is not.
inline constexpr int kRun = 4 * kTile;
// Pieces that the keys of one decode query are split into, at most: by context alone, so that results do not depend on
// the number of threads.
inline constexpr int64_t kMostSplits = 16;
inline constexpr int64_t kSmallestSplit = 512;  // keys
inline int64_t split_size(int64_t keys) {
  const int64_t even = (keys + kMostSplits - 1) / kMostSplits;
  return even < kSmallestSplit ? kSmallestSplit : (even + kTile - 1) / kTile * kTile;
}

// Query tokens handled together: about `block_rows` rows (token x head of the group), a multiple of kRowMultiple.
inline int query_block(int group, int block_rows) {
  const int tokens = (block_rows / group + kRowMultiple / 2) / kRowMultiple * kRowMultiple;
  return tokens < kRowMultiple ? kRowMultiple : tokens;
}
// Parts of a head with a scale of their own, at most.
inline int64_t most_pieces(int64_t head_dim) { return head_dim / kGroupMultiple; }
// f32 elements of scratch of one thread in attend_block: queries and sums, a tile, its scores, queries and weights as
// int16, scales, statistics of every row; by products of bf16 two tiles and no int16. The same formula for every
// instruction set.
inline int64_t block_scratch(int group, int head_dim, int block_rows) {
  const int64_t rows = int64_t{group} * query_block(group, block_rows), d = head_dim;
  return rows * (2 * d + 2 * kTile + d / 2 + 6 * most_pieces(d) + 14) + 2 * kTile * d + 10 * d + 3 * kTile;
}
// Of an array of f32 that whole cache lines hold: vectors that reach over two take twice as long.
inline int64_t whole_lines(int64_t count) { return (count + kRowMultiple - 1) / kRowMultiple * kRowMultiple; }
// Channels whose products with codes fit an int32: 256 * 255 * 32767 < 2^31. Longer parts are taken in pieces.
inline constexpr int64_t kLongPiece = 256;
inline int64_t long_pieces(int64_t head_dim) { return (head_dim + kLongPiece - 1) / kLongPiece; }
// Numbers in fixed point that are multiplied together; a row of a head's stands in multiples of it.
inline constexpr int64_t kFixedMultiple = 64;
inline int64_t fixed_row(int64_t head_dim) { return (head_dim + kFixedMultiple - 1) / kFixedMultiple * kFixedMultiple; }
// Spans of tokens whose scales are multiplied into queries together.
inline constexpr int64_t kMostFolds = 8;
// f32 elements of one partial result of attend_splits: for each head of the group maximum, mass, weighted values.
inline int64_t partial_size(int group, int head_dim) { return 2 * whole_lines(group) + int64_t{group} * head_dim; }
// f32 elements of scratch of one thread in attend_splits: queries, scores of a run, a tile, and all as integers with the
// scales that they are multiplied with; the same for every instruction set.
inline int64_t split_scratch(int group, int head_dim) {
  const int64_t pieces = most_pieces(head_dim), d = head_dim;
  return group * (4 * d + (kMostFolds - 1) * d / 2 + 2 * kRun) +
         whole_lines(group) * (3 * kMostFolds * long_pieces(d) + 7) + whole_lines(group + kRowMultiple) +
         kTile * (d + d / 2) + 2 * pieces * kRun + d + (kMostFolds * fixed_row(d) + kRun) / 2;
}

struct CpuKernels {
  void (*rms_norm)(const float* x, const float* weight, float epsilon, int64_t n, const Tensor& out_row);
  void (*swiglu)(const float* gate, const float* up, int64_t n, const Tensor& out_row);
  // One head: x [2 * half] in place.
  void (*rope)(float* x, const float* cosines, const float* sines, int64_t half);
  void (*to_bf16)(const float* x, int64_t n, bf16* out);
  void (*to_f32)(const bf16* x, int64_t n, float* out);
  // out[m][r] (+)= bias[r] + dot(weight[r], x[m]) for rows [begin, end), m < vectors; x f32 [vectors][columns]
  // contiguous.
  void (*gemv)(const bf16* weight, const float* bias, int64_t columns, int64_t begin, int64_t end, const float* x,
               int64_t vectors, float* out, int64_t out_stride, bool accumulate);
  // x f32 [n] of one head, in place; see Backend::transform().
  void (*transform)(float* x, int64_t n, bool rotate, const float* offset);
  // One token of one head, `token` counted from behind the sinks; for sides whose groups lie inside a token, and for a
  // frozen scale of the layer. Returns the values that were clamped.
  int64_t (*encode)(const PackedSide& side, int64_t head, int64_t token, const float* values);
  // Tokens [token, token + span) of one head from the tail, for groups over tokens.
  void (*encode_span)(const PackedSide& side, int64_t head, int64_t token);
  // What attention reads of `count` tokens from `token` (of the sequence) on, inside one tile, to out f32
  // [count][head_dim].
  void (*decode)(const PackedSide& side, int64_t head, int64_t token, int64_t count, float* out);
  // restore_values() of a row of weighted sums, then job.out[token, head] = row; row f32 [head_dim] is overwritten.
  void (*finish_row)(const AttendJob& job, int64_t token, int64_t head, float* row);
  // Queries [begin, begin + count) of one kv head's group against all their keys.
  void (*attend_block)(const AttendJob& job, int64_t kv_head, int64_t begin, int64_t count, float* scratch);
  // One query token of one kv head's group against pieces of its keys, each to a partial result of its own.
  void (*attend_splits)(const AttendJob& job, const SplitJob& splits, float* scratch);
  // Joins `splits` partial results of one query token and kv head and writes job.out.
  void (*join_splits)(const AttendJob& job, int64_t kv_head, int64_t query, float* partials, int64_t splits);
  // Rows of one attend_block. All of them share each tile of keys and values, which is decoded for every block anew;
  // few rows stay in a first-level cache.
  int block_rows;
};

// Instruction sets that this machine runs, best last: "portable", "avx2", "avx512" (with VNNI, dense
// products in f32), "avx512_bf16", "amx_bf16".
std::vector<std::string> cpu_instruction_sets();
const CpuKernels& cpu_kernels(const std::string& instruction_set);
const LinearKernels& cpu_linear_kernels(const std::string& instruction_set);

}  // namespace kvpareto
