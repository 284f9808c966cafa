#pragma once
// What queries multiply with tiles of the cache, and RowProducts, which instruction sets with products of bf16 put in
// place of the vectors of attention-inl.h for the many queries of a chunk.

#include <cstdint>

#include "backend/packed_side.h"

namespace kvpareto {

// Rows of numbers x that are about step * n, n integers: `wholes` are the sums of step * n, `sums` those of x times the
// centres of their codes, the values that a code in the middle would have.
struct Rounded {
  float* steps;
  float* sums;
  float* wholes;

  // The three of `rows` (a multiple of kRowMultiple) behind one another.
  static Rounded in(float* space, int64_t rows) { return {space, space + rows, space + 2 * rows}; }
  Rounded from(int64_t row) const { return {steps + row, sums + row, wholes + row}; }
};

// What the lanes of a piece of codes share: arrays along the lanes.
struct Affine {
  const float* scales;
  const float* centres;
  float middle;  // of the codes: rounding x costs least about it

  Affine from(int64_t lane) const { return {scales + lane, centres + lane, middle}; }
};

// Fours of codes in the lanes, as chunks of neighbouring blocks: row p of fours, kLanes lanes from l on, lies at
//   first + p % kFours * four + p / kFours * fours + l % kBlockTokens / kLanes * across + l / kBlockTokens * block
// kFours are the fours of tokens of a block; more of them, or more lanes than channels, are met in the next one.
struct CodeChunks {
  static constexpr int64_t kFours = kBlockTokens / kFour;
  Codec codec;
  const uint8_t* first;
  int64_t four, across;  // bytes
  int64_t fours, block;
  // Bytes that will be wanted next, as many as these chunks have, told of a step at a time in the order in which they
  // lie: for the next kLanes lanes, kFours fours and kBlockTokens lanes from here.
  const uint8_t* next;
  int64_t next_across, next_fours, next_block;
};

// Lanes that are multiplied with x of their own: those from s << bits on with what lies s times `numbers` behind it,
// and their Rounded s times `rounded` behind the first.
struct LaneSpans {
  int bits = 62;
  int64_t numbers = 0, rounded = 0;
};

// out[i][l] (+)= scale[l] sum over p of (x[i] four p times (codes [p][l] - middle)) + centre[l] sum[i], for i < count
// and l < width, rounded up to kLanes. x int16 [count][4 * fours], rows `step` apart, at most kMostInt16
// (products-inl.h).
struct CodeProducts {
  const int16_t* x;
  int64_t step, count;
  Rounded rounded;  // [count]
  LaneSpans spans;
  CodeChunks codes;
  int64_t fours;
  Affine affine;
  int64_t width;
  bool accumulate;
  float* out;
  int64_t out_stride;
};

struct RowProducts {
  // Queries f32 [head_dim][rows] as score() wants them: bf16 [head_dim / 2][rows][2].
  void (*round_queries)(const float* queries, int64_t head_dim, int64_t rows, bf16* out);
  // scores[k][r] = dot(keys[k], queries[r]); keys f32 [count][head_dim] are overwritten, count a multiple of 8, rows of
  // kRowMultiple; scores f32 [count][rows].
  void (*score)(float* keys, int64_t count, const bf16* queries, int64_t head_dim, int64_t rows, float* scores);
  // sums[c][r] += sum over k of values[k][c] * weights[k][r]; values f32 [count][head_dim] and what is behind them, as
  // if there were kTile, are overwritten; weights f32 [count][rows], `rounded` space for bf16 [kTile][rows], sums f32
  // [head_dim][rows].
  void (*add)(float* values, int64_t count, const float* weights, int64_t head_dim, int64_t rows, bf16* rounded,
              float* sums);
};

}  // namespace kvpareto
