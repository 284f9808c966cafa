// What every scheme promises on every backend, whatever it stores.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "base/random.h"
#include "base/testing.h"
#include "kv/cache.h"
#include "kv/catalogue.h"
#include "kv/rope.h"

namespace kvpareto {
namespace {

// Every grouping, codec, fit, window and transform, alone and together with others; then the catalogue.
const std::vector<std::string> kOwnSchemes = {
    "k16v16", "k8v8g32", "k8v4g64", "k4v2g32", "k3v3gh", "k2v2gh", "k16v3g32", "k2v16", "k4g32v8g64", "k3g64v2g32",
    // groups over tokens, tiles, one scale a layer, GGUF's symmetric blocks
    "k4t32v4g32", "k2t64v3t32", "k3t128v8t64", "k4b32x32v8b64xh", "k4b128x32v8b128xh", "k8v8p", "k3pv2p", "kq8vq4",
    "kq4vq8",
    // exact windows
    "k4v4g64.recent40", "k4v4g64.sink3", "k2t32v2g32.recent50.sink5", "k16v16.recent7.sink70", "k4v4p.recent9.sink2",
    // transforms and fits
    "k16.had.v16.had", "k16.mean.v16.mean", "k16.pre.v16", "k16.pre.mean.had.v16.mean.had.sink4",
    "k16.pre.bias.v16.bias", "k4.mean.v4g32.mean", "k4.had.v4g32.had", "k4t32.pre.v4g32.had",
    "k3.pre.mean.had.v2g32.had.fit", "k8.pre.bias.v4g64.bias", "k8g32.pre.bias.v16", "k4g32.pre.v16",
    "k2t64.pre.fit.v3t32.mean.fit", "k8t128.pre.v16", "k3b32x32.pre.v16", "k4p.pre.v16", "k4p.mean.v4p.had.sink1",
    "kq8.had.vq4.had",
    // attend, then pack
    "k4v4g64.atp", "k2t64.pre.v4g32.mean.had.recent30.sink4.atp", "k16v16.atp",
    // a layer of its own
    "k4v4g64,0:k8", "k2t64.pre.v4g32.recent10,1:k4g32.had.v16", "k16v16,1:k2t32.pre.mean.fit.v2p"};
std::vector<std::string> all_schemes() {
  std::vector<std::string> schemes = kOwnSchemes;
  for (const NamedScheme& named : catalogue()) {
    const std::string text(named.text);
    if (std::find(schemes.begin(), schemes.end(), text) == schemes.end()) schemes.push_back(text);
  }
  return schemes;
}
constexpr CacheShape kShape{.layers = 2, .kv_heads = 2, .head_dim = 64, .context = 150, .step = 150};
// More keys than a decode step takes at once, in more than one piece.
constexpr CacheShape kLongShape{.layers = 2, .kv_heads = 2, .head_dim = 64, .context = 840, .step = 500};
constexpr int64_t kColumns = kShape.kv_heads * kShape.head_dim;
constexpr int kHeads = 6;

// Keys and values of every layer for a whole context: f32 [layers][2][context][kv_heads * head_dim]. Some channels
// stand far from zero, as Qwen2's keys do.
std::vector<float> some_rows(uint64_t seed, const CacheShape& shape = kShape) {
  Random random(seed);
  std::vector<float> rows(static_cast<size_t>(shape.layers * 2 * shape.context * kColumns));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(2 * random.normal() + (i % 16 == 5 ? 6 : 0));
  return rows;
}

std::vector<float> some_bias() {
  Random random(77);
  std::vector<float> bias(static_cast<size_t>(kColumns));
  for (float& x : bias) x = static_cast<float>(3 * random.normal());
  return bias;
}

Tensor rows_of(std::vector<float>& rows, int layer, int side, int64_t begin, int64_t count,
               const CacheShape& shape = kShape) {
  return tensor(rows.data() + ((layer * 2 + side) * shape.context + begin) * kColumns, count, shape.kv_heads,
                shape.head_dim);
}

// The cache overwrites what it is given.
std::vector<float> copied(const Tensor& rows) {
  return {rows.as<float>(), rows.as<float>() + rows.rows() * rows.columns()};
}

// Turns of positions [begin, begin + count); without RoPE those of position 0, which leave keys as they are.
std::vector<float> turns_of(int64_t begin, int64_t count, bool rope) {
  std::vector<float> turns(static_cast<size_t>(std::max<int64_t>(count, 1) * kShape.head_dim));
  fill_turns(kShape.rope, kShape.head_dim / 2, rope ? begin : 0, rope ? 1 : 0, count, turns.data());
  return turns;
}

void append(KvCache& cache, std::vector<float>& rows, int64_t count, bool rope = true) {
  const int64_t begin = cache.tokens();
  const std::vector<float> turns = turns_of(begin, count, rope);
  for (int layer = 0; layer < kShape.layers; ++layer) {
    std::vector<float> keys = copied(rows_of(rows, layer, 0, begin, count, cache.shape())),
                       values = copied(rows_of(rows, layer, 1, begin, count, cache.shape()));
    cache.append(layer, tensor(keys.data(), count, kShape.kv_heads, kShape.head_dim),
                 tensor(values.data(), count, kShape.kv_heads, kShape.head_dim), turns.data());
  }
}

// All that a cache holds, layer by layer, keys before values.
std::vector<float> contents(const KvCache& cache) {
  std::vector<float> all;
  for (int layer = 0; layer < cache.shape().layers; ++layer) {
    for (const bool keys : {true, false}) {
      const std::vector<float> part = cache.decoded(layer, keys);
      all.insert(all.end(), part.begin(), part.end());
    }
  }
  return all;
}

// Attention of queries at the newest `tokens` positions over what the cache says that it holds: plain sums in double.
std::vector<double> plain_attention(const KvCache& cache, int layer, const std::vector<float>& queries,
                                    int64_t tokens) {
  const std::vector<float> keys = cache.decoded(layer, true), values = cache.decoded(layer, false);
  const int64_t d = kShape.head_dim, length = cache.tokens();
  const int64_t heads = static_cast<int64_t>(queries.size()) / (tokens * d), share = heads / kShape.kv_heads;
  std::vector<double> out(queries.size());
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t h = 0; h < heads; ++h) {
      const float* query = &queries[static_cast<size_t>((t * heads + h) * d)];
      const float* key = &keys[static_cast<size_t>(h / share * length * d)];
      const float* value = &values[static_cast<size_t>(h / share * length * d)];
      double* sum = &out[static_cast<size_t>((t * heads + h) * d)];
      double mass = 0;
      for (int64_t s = 0; s <= length - tokens + t; ++s) {
        double score = 0;
        for (int64_t c = 0; c < d; ++c) score += static_cast<double>(query[c]) * key[s * d + c];
        const double weight = std::exp(score / std::sqrt(static_cast<double>(d)));
        mass += weight;
        for (int64_t c = 0; c < d; ++c) sum[c] += weight * value[s * d + c];
      }
      for (int64_t c = 0; c < d; ++c) sum[c] /= mass;
    }
  }
  return out;
}

// out = attention of queries at the newest positions, as the cache does it.
void attend(Backend& backend, const KvCache& cache, int layer, std::vector<float> queries, std::vector<float>& out,
            int heads = kHeads) {
  const auto tokens = static_cast<int64_t>(queries.size()) / (heads * kShape.head_dim);
  const Buffer scratch = backend.allocate(
      backend.attend_scratch_bytes(tokens, cache.shape().context, heads, kShape.kv_heads, kShape.head_dim),
      Purpose::kScratch);
  cache.attend(layer, tensor(queries.data(), tokens, heads, kShape.head_dim),
               tensor(out.data(), tokens, heads, kShape.head_dim),
               tensor(scratch.as<float>(), static_cast<int64_t>(scratch.bytes() / sizeof(float))));
}

// Exact storage: scores up to 30 with errors of some 2^-24 each, values up to 10. Products of codes round queries,
// and the weights of a tile, to int16 steps of their largest: errors uniform in 2^-16 of it, 2^-16 / sqrt(3) as a
// standard deviation. Against 64 channels of keys (rms 3.5 about the middle of their group, queries up to 4) a score
// is off by 1.3e-4, against 64 tokens of such values a sum by 2.5e-4; eight of both together hold in every run. A
// single key left out moves results by 1e-2. Keys that are turned as integers are off by half a unit
// (docs/METHODS.md, "Products of codes"), sqrt(2) 10 / 16383, or with a unit for all channels of a token (up to 10,
// less a bias of up to 8) sqrt(2) 18 / 16383, and their queries of rms 1 by sqrt(1 / 12) of 64 * 0.8 / 130000: a
// score by 4.3e-4 or 7.8e-4 and by 4e-4. AVX-512 rounds more, and AMX with it for few tokens. Against codes of at
// most 4 bits to steps of 8 bits: queries 257 times as large, and weights 128 times, or 257 where scales have signs
// (attend_contract_test.cc holds the deviation itself against what is stated); in chunks so do codes of 8 bits where
// no weight is more than a quarter of all, which no key of the first tile is sure of: errors of such scores, each
// times its weight, add up to half of one at most, and so many weights are off by a quarter of theirs in each of two
// tiles. A few tokens round the weights of four tiles together: twice as many errors that cancel. In chunks to bf16,
// where keys are stored so or such codes that must be turned, and weights of values that are: 2^-9 / sqrt(3) of each
// of 64 queries (rms 1) moves a score by 4e-3, of each key by as much, of each weight a sum too.
double arithmetic_error(const Backend& backend, const LayerScheme& sides, int64_t tokens, int64_t all) {
  const SideScheme &keys = sides.keys, &values = sides.values;
  const bool by_bf16 = tokens >= 8 && backend.name() == "cpu/avx512_bf16";
  const bool exact_values = !has_scale(values.codec);
  if (!has_scale(keys.codec) && exact_values) return by_bf16 ? 8 * (keys.before_rope ? 4e-3 : 5.6e-3) : 2e-4;
  if (backend.name() == "reference") return 2e-4;
  const bool by_fours = backend.name().starts_with("cpu/avx512") || (tokens < 8 && backend.name() == "cpu/amx_bf16");
  double score = 1.3e-4;
  if (by_bf16 && (keys.before_rope ? bits_of(keys.codec) <= 4 : !has_scale(keys.codec)))
    score = 5.6e-3;
  else if (keys.before_rope)
    score = std::hypot(keys.span == 1 ? 7.8e-4 : 4.3e-4, 4e-4);
  else if (by_fours && bits_of(keys.codec) <= 4)
    score *= 257;
  else if (by_fours && tokens >= 8 && keys.codec == Codec::kInt8 && all > kBlockTokens)
    score *= 257 * 0.5;
  double sum = exact_values && by_bf16 ? 4e-3 : 2.5e-4;
  if (by_fours) {
    if (bits_of(values.codec) <= 4) sum *= values.fit == Fit::kSymmetric ? 257 : 128;
    if (tokens >= 8 && values.codec == Codec::kInt8) sum *= 128 * 0.25 * 1.42;
  }
  if (tokens < 8 && all > 4 * kBlockTokens) sum *= 2;
  return 8 * std::hypot(score, sum);
}

class CacheContract : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  KvCache fresh() { return fresh_on(*backend_); }
  KvCache fresh_on(Backend& backend, const CacheShape& shape = kShape) {
    const std::vector<KvBias> biases(static_cast<size_t>(shape.layers), KvBias{bias_, bias_});
    return {backend, scheme_, shape, biases};
  }
  // Queries at the newest positions, against plain sums over what the cache says that it holds.
  void expect_decoded_values(const KvCache& cache, int64_t tokens) {
    for (int layer = 0; layer < kShape.layers; ++layer) {
      Random random(static_cast<uint64_t>(tokens));
      std::vector<float> queries(static_cast<size_t>(tokens * kHeads * kShape.head_dim)), out(queries.size());
      for (float& x : queries) x = static_cast<float>(random.normal());
      attend(*backend_, cache, layer, queries, out);
      const std::vector<double> wanted = plain_attention(cache, layer, queries, tokens);
      const double off = arithmetic_error(*backend_, scheme_.at(layer), tokens, cache.tokens());
      for (size_t i = 0; i < out.size(); ++i) {
        ASSERT_NEAR(out[i], wanted[i], off) << tokens << " of " << cache.tokens() << " tokens, element " << i;
      }
    }
  }

  std::unique_ptr<Backend> backend_ = make_backend(std::get<0>(GetParam()));
  KvScheme scheme_ = parse_scheme(std::get<1>(GetParam()));
  std::vector<float> bias_ = some_bias();
};

TEST_P(CacheContract, BytesAreAsPredictedAndFreed) {
  {
    KvCache cache = fresh();
    EXPECT_EQ(cache.bytes(), cache_bytes(scheme_, kShape));
    EXPECT_EQ(backend_->allocated(Purpose::kKv), cache_bytes(scheme_, kShape));
    std::vector<float> rows = some_rows(1);
    append(cache, rows, kShape.context);
    EXPECT_EQ(backend_->allocated(Purpose::kKv), cache.bytes());
    EXPECT_EQ(backend_->allocated(Purpose::kScratch), 0u);
  }
  EXPECT_EQ(backend_->allocated(Purpose::kKv), 0u);
}

// Every backend packs the same codes as the reference, from the same numbers.
TEST_P(CacheContract, ContentsAreTheReferences) {
  std::vector<float> rows = some_rows(9);
  const auto reference = make_backend("reference");
  KvCache wanted = fresh_on(*reference), found = fresh();
  for (const int64_t count : {40, 1, 100}) {
    append(wanted, rows, count, false);
    append(found, rows, count, false);
    EXPECT_EQ(contents(found), contents(wanted)) << wanted.tokens() << " tokens";
  }
  EXPECT_EQ(found.clamped(), wanted.clamped());
}

// All schemes but those that show the tokens in flight exactly.
class ChunkingContract : public CacheContract {};
TEST_P(ChunkingContract, ContentsDoNotDependOnChunking) {
  std::vector<float> rows = some_rows(2);
  KvCache whole = fresh();
  append(whole, rows, kShape.context);
  const std::vector<float> wanted = contents(whole);
  for (const std::vector<int64_t>& pattern : {std::vector<int64_t>{1}, {64}, {7, 1, 33}, {100, 50}}) {
    KvCache cache = fresh();
    for (size_t i = 0; cache.tokens() < kShape.context; ++i) {
      append(cache, rows, std::min<int64_t>(pattern[i % pattern.size()], kShape.context - cache.tokens()));
    }
    EXPECT_EQ(contents(cache), wanted) << "chunks of " << pattern[0];
  }
}

TEST_P(CacheContract, RewindGivesTheStateAtTheMark) {
  std::vector<float> rows = some_rows(3), others = some_rows(4);
  for (const int64_t at : {0, 1, 63, 64, 65, 149}) {
    KvCache cache = fresh(), straight = fresh();
    append(cache, rows, at);
    const KvCache::Mark mark = cache.mark();
    const std::vector<float> before = contents(cache);
    append(cache, others, std::min<int64_t>(70, kShape.context - at));
    cache.rewind(mark);
    EXPECT_EQ(cache.tokens(), at);
    EXPECT_EQ(contents(cache), before);
    append(cache, rows, kShape.context - at);
    append(straight, rows, at);
    append(straight, rows, kShape.context - at);
    EXPECT_EQ(contents(cache), contents(straight)) << "rewound to " << at;
  }
}

TEST_P(CacheContract, ACopyGoesOnAsTheOriginal) {
  std::vector<float> rows = some_rows(3), others = some_rows(4);
  for (const int64_t at : {0, 1, 63, 65, 149}) {
    KvCache original = fresh(), copy = fresh(), straight = fresh();
    append(copy, others, 100);
    append(original, rows, at);
    copy.copy(original);
    EXPECT_EQ(contents(copy), contents(original)) << at;
    append(copy, rows, kShape.context - at);
    EXPECT_EQ(original.tokens(), at);
    append(straight, rows, at);
    append(straight, rows, kShape.context - at);
    EXPECT_EQ(contents(copy), contents(straight)) << "copied at " << at;
  }
}

TEST_P(CacheContract, AttendReadsExactlyTheDecodedValues) {
  std::vector<float> rows = some_rows(5);
  KvCache cache = fresh();
  append(cache, rows, 20);
  for (const int64_t tokens : {40, 1, 9, 3, 40}) {
    append(cache, rows, tokens);
    expect_decoded_values(cache, tokens);
  }
}

TEST_P(CacheContract, AttendReadsAllOfALongContext) {
  std::vector<float> rows = some_rows(11, kLongShape);
  KvCache cache = fresh_on(*backend_, kLongShape);
  for (const int64_t before : {140, 300, 360}) {
    append(cache, rows, before);
    for (const int64_t tokens : {1, 9}) {
      append(cache, rows, tokens);
      expect_decoded_values(cache, tokens);
    }
  }
}

// With 16-bit storage a scheme changes nothing but for one rounding of what is stored, or two where a mean was taken
// off rounded tokens: at most 2^-8 of the length of the stored vector each.
TEST_P(CacheContract, SixteenBitTransformsKeepWhatCameIn) {
  std::vector<float> rows = some_rows(10);
  KvCache cache = fresh();
  append(cache, rows, kShape.context);
  for (int layer = 0; layer < kShape.layers; ++layer) {
    for (const bool keys : {true, false}) {
      if (const auto& sides = scheme_.at(layer); has_scale((keys ? sides.keys : sides.values).codec)) continue;
      std::vector<float> wanted = copied(rows_of(rows, layer, keys ? 0 : 1, 0, kShape.context));
      const Tensor x = tensor(wanted.data(), kShape.context, kShape.kv_heads, kShape.head_dim);
      const auto reference = make_backend("reference");
      if (keys) reference->rope(x, turns_of(0, kShape.context, true).data());
      const std::vector<float> found = cache.decoded(layer, keys);
      for (int64_t i = 0; i < kShape.context * kColumns; ++i) {
        const int64_t t = i / kColumns, h = i % kColumns / kShape.head_dim, c = i % kShape.head_dim;
        const float* head = x.row<float>(t) + h * kShape.head_dim;
        double length = 30;  // of the vector that was taken off, at most
        for (int64_t j = 0; j < kShape.head_dim; ++j) length = std::max<double>(length, std::abs(head[j]) * 8);
        ASSERT_NEAR(found[static_cast<size_t>((h * kShape.context + t) * kShape.head_dim + c)], head[c],
                    length * 0x1.0p-8)
            << "layer " << layer << " token " << t << " channel " << c;
      }
    }
  }
}

// A change of one head of one token changes the decoded values of that head and its span of tokens alone, unless the
// token is one of those that a mean or a layer's scale is found from.
TEST_P(CacheContract, GroupsCrossNeitherHeadsNorSpans) {
  std::vector<float> rows = some_rows(6);
  KvCache before = fresh();
  append(before, rows, 130);
  for (const auto& [token, head] : {std::pair<int64_t, int64_t>{0, 0}, {63, 1}, {64, 0}, {129, 1}}) {
    std::vector<float> changed = rows;
    for (const int side : {0, 1}) {
      float* row = rows_of(changed, 1, side, token, 1).as<float>() + head * kShape.head_dim;
      for (int64_t c = 0; c < kShape.head_dim; ++c) row[c] = 1000 * row[c] + 5;
    }
    KvCache after = fresh();
    append(after, changed, 130);
    EXPECT_EQ(after.decoded(0, true), before.decoded(0, true));
    EXPECT_EQ(after.decoded(0, false), before.decoded(0, false));
    for (const bool keys : {true, false}) {
      const SideScheme& side = keys ? scheme_.at(1).keys : scheme_.at(1).values;
      const bool freezes = side.offset == Offset::kMean || (side.span == kWholeLayer && has_scale(side.codec));
      if (freezes && token < scheme_.sinks + kFreezeTokens) continue;
      const int64_t span = has_scale(side.codec) ? std::max(side.span, 1) : 1;
      const int64_t start = token < scheme_.sinks ? token : scheme_.sinks + (token - scheme_.sinks) / span * span;
      const int64_t end = token < scheme_.sinks ? token + 1 : std::min<int64_t>(start + span, 130);
      std::vector<float> a = before.decoded(1, keys), b = after.decoded(1, keys);
      const auto from = (head * 130 + start) * kShape.head_dim, to = (head * 130 + end) * kShape.head_dim;
      EXPECT_FALSE(std::equal(a.begin() + from, a.begin() + to, b.begin() + from));
      a.erase(a.begin() + from, a.begin() + to);
      b.erase(b.begin() + from, b.begin() + to);
      EXPECT_EQ(a, b) << "token " << token << " head " << head;
    }
  }
}

// "Attend, then pack" shows a step its own tokens as bf16, and packs them when the next one comes; what is packed is
// what the other order packs.
class AttendFirstContract : public CacheContract {};
TEST_P(AttendFirstContract, DiffersInTheStepInFlightAlone) {
  std::vector<float> rows = some_rows(12);
  for (float& x : rows) x = to_float(to_bf16(x));  // what waits in the tail is rounded before it is packed
  KvCache later = fresh();
  KvScheme other = scheme_;
  other.attend_first = false;
  KvCache at_once(*backend_, other, kShape);
  for (const int64_t count : {100, 7, 30, 1}) {
    KvCache before(*backend_, other, kShape);
    append(before, rows, later.tokens());
    append(later, rows, count);
    append(at_once, rows, count);
    const std::vector<float> found = later.decoded(1, false), packed = before.decoded(1, false);
    const int64_t old = before.tokens(), all = later.tokens();
    for (int64_t head = 0; head < kShape.kv_heads; ++head) {
      const auto* row = &found[static_cast<size_t>(head * all * kShape.head_dim)];
      if (before.tokens() >= scheme_.sinks + kFreezeTokens) {
        EXPECT_TRUE(
            std::equal(row, row + old * kShape.head_dim, &packed[static_cast<size_t>(head * old * kShape.head_dim)]));
      }
      for (int64_t t = std::max(old, scheme_.sinks + int64_t{kFreezeTokens}); t < all; ++t) {
        const float* wanted = rows_of(rows, 1, 1, t, 1).as<float>() + head * kShape.head_dim;
        for (int64_t c = 0; c < kShape.head_dim; ++c) ASSERT_NEAR(row[t * kShape.head_dim + c], wanted[c], 0.2) << t;
      }
    }
  }
}

TEST_P(CacheContract, PastTheContextIsAnError) {
  std::vector<float> rows = some_rows(7), more(static_cast<size_t>(kColumns));
  KvCache cache = fresh();
  append(cache, rows, kShape.context);
  const std::vector<float> before = contents(cache);
  const Tensor one = tensor(more.data(), 1, kShape.kv_heads, kShape.head_dim);
  const auto error = error_of([&] { cache.append(0, one, one, more.data()); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->exit(), Exit::kUsage);
  EXPECT_THAT(error->what(), testing::HasSubstr("would grow to 151 tokens, but the context is 150"));
  EXPECT_EQ(contents(cache), before);
}

TEST_P(CacheContract, NothingCanBeStored) {
  std::vector<float> rows = some_rows(8);
  KvCache cache = fresh();
  EXPECT_TRUE(contents(cache).empty());
  append(cache, rows, 0);
  EXPECT_EQ(cache.tokens(), 0);
  append(cache, rows, 5);
  append(cache, rows, 0);
  EXPECT_EQ(cache.tokens(), 5);
  KvCache five = fresh();
  append(five, rows, 5);
  EXPECT_EQ(contents(cache), contents(five));
}

std::string case_name(const testing::TestParamInfo<CacheContract::ParamType>& instance) {
  std::string name = std::get<0>(instance.param) + "_" + std::get<1>(instance.param);
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(c); }, '_');
  return name;
}

std::vector<std::string> schemes_by_order(bool attend_first) {
  std::vector<std::string> schemes;
  const std::vector<std::string> all = all_schemes();
  std::copy_if(all.begin(), all.end(), std::back_inserter(schemes),
               [&](const std::string& text) { return parse_scheme(text).attend_first == attend_first; });
  return schemes;
}

INSTANTIATE_TEST_SUITE_P(All, CacheContract,
                         testing::Combine(testing::ValuesIn(backend_names()), testing::ValuesIn(all_schemes())),
                         case_name);
INSTANTIATE_TEST_SUITE_P(All, ChunkingContract,
                         testing::Combine(testing::ValuesIn(backend_names()),
                                          testing::ValuesIn(schemes_by_order(false))),
                         case_name);
INSTANTIATE_TEST_SUITE_P(All, AttendFirstContract,
                         testing::Combine(testing::ValuesIn(backend_names()),
                                          testing::ValuesIn(schemes_by_order(true))),
                         case_name);

// Attention at the newest tokens is that over decoded values, but for `factor` times the contract's errors: in steps of
// so many tokens behind a hundred.
void expect_decoded_values(const char* scheme, const CacheShape& shape, int heads, std::initializer_list<int> steps,
                           double factor, const std::vector<float>& all = some_rows(13)) {
  for (const auto& name : backend_names()) {
    const auto backend = make_backend(name);
    const std::vector<float> bias = some_bias();
    KvCache cache(*backend, parse_scheme(scheme), shape, std::vector<KvBias>(shape.layers, {bias, bias}));
    std::vector<float> rows = all;
    append(cache, rows, 100);
    for (const int tokens : steps) {
      append(cache, rows, tokens);
      Random random(static_cast<uint64_t>(tokens));
      std::vector<float> queries(static_cast<size_t>(tokens * heads * shape.head_dim)), out(queries.size());
      for (float& x : queries) x = static_cast<float>(random.normal());
      attend(*backend, cache, 1, queries, out, heads);
      const std::vector<double> wanted = plain_attention(cache, 1, queries, tokens);
      const double off = factor * arithmetic_error(*backend, cache.scheme().at(1), tokens, cache.tokens());
      for (size_t i = 0; i < out.size(); ++i)
        ASSERT_NEAR(out[i], wanted[i], off) << name << " " << scheme << " " << tokens << " tokens";
    }
  }
}

// Turns of places and of blocks, put together in any way, give a key its magnitude once.
TEST(KvCache, KeysBeforeRopeHaveTheMagnitudeOfScaledRopeOnce) {
  CacheShape shape = kShape;
  shape.rope.magnitude = 1.2;
  // Keys, and so scores and their errors, are 1.2 times those of the contract above.
  for (const char* scheme :
       {"k16.pre.v16.sink5", "k4t32.pre.v4g32.sink5", "k8.pre.v16.sink5", "k8g64.pre.had.v4g32.recent20"})
    expect_decoded_values(scheme, shape, kHeads, {2, 30}, 1.2);
}

// More query heads a group than take keys before RoPE from the registers that turn them.
TEST(KvCache, ManyHeadsOfAGroupReadTheDecodedValues) {
  for (const char* scheme : {"k4t32.pre.v16", "k8g32.pre.bias.v16", "k4v4g32"})
    expect_decoded_values(scheme, kShape, 20, {3, 20}, 1);
}

// Tiles that are taken together share units of keys before RoPE: the largest.
TEST(KvCache, TilesOfARunMayDiffer) {
  std::vector<float> rows = some_rows(13);
  for (size_t i = 0; i < rows.size(); ++i) {
    const size_t token = i / kColumns % static_cast<size_t>(kShape.context);
    if (token >= kBlockTokens) rows[i] /= 8;
  }
  for (const char* scheme : {"k4t32.pre.v16", "k8t64.pre.v16"})
    expect_decoded_values(scheme, kShape, kHeads, {1, 28, 1}, 1, rows);
}

TEST(KvCache, RefusesAGroupThatDoesNotDivideTheHead) {
  const auto backend = make_backend("auto");
  const auto error = error_of([&] { KvCache(*backend, parse_scheme("k4v4g128"), kShape); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->exit(), Exit::kUsage);
  EXPECT_THAT(error->what(), testing::HasSubstr("KV scheme k4v4g128: a group of 128 channels"));
  EXPECT_EQ(backend->allocated(Purpose::kKv), 0u);
}

TEST(KvCache, TooLargeIsNoMemory) {
  const auto backend = make_backend("auto");
  const CacheShape huge{.layers = 1000, .kv_heads = 1000, .head_dim = 1024, .context = 1 << 27};
  const auto error = error_of([&] { KvCache(*backend, KvScheme(), huge); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->exit(), Exit::kNoMemory);
}

}  // namespace
}  // namespace kvpareto
