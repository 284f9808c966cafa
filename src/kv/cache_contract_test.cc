// What every scheme promises on every backend, whatever it stores.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "base/testing.h"
#include "kv/cache.h"

namespace kvpareto {
namespace {

constexpr const char* kSchemes[] = {"k16v16", "k8v8g32",  "k8v4g64", "k4v2g32",    "k3v3gh",
                                    "k2v2gh", "k16v3g32", "k2v16",   "k4g32v8g64", "k3g64v2g32"};
constexpr CacheShape kShape{.layers = 2, .kv_heads = 2, .head_dim = 64, .context = 150};
constexpr int64_t kColumns = kShape.kv_heads * kShape.head_dim;
constexpr int kHeads = 6;

// Keys and values of every layer for a whole context: f32 [layers][2][context][kv_heads * head_dim].
std::vector<float> some_rows(uint64_t seed) {
  Random random(seed);
  std::vector<float> rows(static_cast<size_t>(kShape.layers * 2 * kShape.context * kColumns));
  for (float& x : rows) x = static_cast<float>(2 * random.normal());
  return rows;
}

Tensor rows_of(std::vector<float>& rows, int layer, int side, int64_t begin, int64_t count) {
  return tensor(rows.data() + ((layer * 2 + side) * kShape.context + begin) * kColumns, count, kShape.kv_heads,
                kShape.head_dim);
}

void append(KvCache& cache, std::vector<float>& rows, int64_t count) {
  const int64_t begin = cache.tokens();
  for (int layer = 0; layer < kShape.layers; ++layer) {
    cache.append(layer, rows_of(rows, layer, 0, begin, count), rows_of(rows, layer, 1, begin, count));
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
  const int64_t d = kShape.head_dim, length = cache.tokens(), share = kHeads / kShape.kv_heads;
  std::vector<double> out(static_cast<size_t>(tokens * kHeads * d));
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t h = 0; h < kHeads; ++h) {
      const float* query = &queries[static_cast<size_t>((t * kHeads + h) * d)];
      const float* key = &keys[static_cast<size_t>(h / share * length * d)];
      const float* value = &values[static_cast<size_t>(h / share * length * d)];
      double* sum = &out[static_cast<size_t>((t * kHeads + h) * d)];
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

class CacheContract : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  std::unique_ptr<Backend> backend_ = make_backend(std::get<0>(GetParam()));
  KvScheme scheme_ = parse_scheme(std::get<1>(GetParam()));
  KvCache fresh() { return {*backend_, scheme_, kShape}; }
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

// Blocks hold what effective_bits() says and nothing else, but for the last one's unused tokens.
TEST_P(CacheContract, BytesAreTheEffectiveBits) {
  CacheShape whole = kShape;
  whole.context = 3 * kBlockTokens;
  const double values = 2.0 * whole.layers * whole.kv_heads * whole.head_dim * whole.context;
  EXPECT_DOUBLE_EQ(static_cast<double>(cache_bytes(scheme_, whole)) * 8 / values,
                   effective_bits(scheme_, whole.layers, whole.head_dim));
}

TEST_P(CacheContract, ContentsDoNotDependOnChunking) {
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
    append(straight, rows, kShape.context);
    EXPECT_EQ(contents(cache), contents(straight)) << "rewound to " << at;
  }
}

TEST_P(CacheContract, AttendReadsExactlyTheDecodedValues) {
  std::vector<float> rows = some_rows(5);
  KvCache cache = fresh();
  append(cache, rows, 60);
  for (const int64_t tokens : {1, 9, 3, 40}) {
    append(cache, rows, tokens);
    for (int layer = 0; layer < kShape.layers; ++layer) {
      Random random(static_cast<uint64_t>(tokens));
      std::vector<float> queries(static_cast<size_t>(tokens * kHeads * kShape.head_dim)), out(queries.size());
      for (float& x : queries) x = static_cast<float>(random.normal());
      const size_t bytes =
          backend_->attend_scratch_bytes(tokens, kShape.context, kHeads, kShape.kv_heads, kShape.head_dim);
      const Buffer scratch = backend_->allocate(bytes, Purpose::kScratch);
      cache.attend(layer, tensor(queries.data(), tokens, kHeads, kShape.head_dim),
                   tensor(out.data(), tokens, kHeads, kShape.head_dim),
                   tensor(scratch.as<float>(), static_cast<int64_t>(scratch.bytes() / sizeof(float))));
      const std::vector<double> wanted = plain_attention(cache, layer, queries, tokens);
      // Scores up to 30 with errors of some 2^-24 each, values up to 10; a single key left out moves results by 1e-2.
      for (size_t i = 0; i < out.size(); ++i)
        ASSERT_NEAR(out[i], wanted[i], 2e-4) << tokens << " tokens, element " << i;
    }
  }
}

// A change of one head of one token changes the decoded values of that head and token alone.
TEST_P(CacheContract, GroupsCrossNeitherHeadsNorTokens) {
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
      std::vector<float> a = before.decoded(1, keys), b = after.decoded(1, keys);
      const auto begin = (head * 130 + token) * kShape.head_dim, end = begin + kShape.head_dim;
      EXPECT_FALSE(std::equal(a.begin() + begin, a.begin() + end, b.begin() + begin));
      a.erase(a.begin() + begin, a.begin() + end);
      b.erase(b.begin() + begin, b.begin() + end);
      EXPECT_EQ(a, b) << "token " << token << " head " << head;
    }
  }
}

TEST_P(CacheContract, PastTheContextIsAnError) {
  std::vector<float> rows = some_rows(7), more(static_cast<size_t>(kColumns));
  KvCache cache = fresh();
  append(cache, rows, kShape.context);
  const std::vector<float> before = contents(cache);
  const Tensor one = tensor(more.data(), 1, kShape.kv_heads, kShape.head_dim);
  const auto error = error_of([&] { cache.append(0, one, one); });
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

INSTANTIATE_TEST_SUITE_P(All, CacheContract,
                         testing::Combine(testing::ValuesIn(backend_names()), testing::ValuesIn(kSchemes)),
                         [](const auto& instance) {
                           return std::get<0>(instance.param) + "_" + std::get<1>(instance.param);
                         });

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
