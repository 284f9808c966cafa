// Packing and attention of every backend against reference.

#include <algorithm>
#include <numbers>
#include <optional>

#include "backend/contract.h"
#include "base/parallel.h"

namespace kvpareto {
namespace {

struct Heads {
  int heads, kv_heads, head_dim;
};
// SmolLM2, Qwen2.5 of 0.5B and 1.5B, one head a group, all heads one group, sizes that are no power of two.
constexpr Heads kHeads[] = {{9, 3, 64}, {14, 2, 64}, {12, 2, 128}, {4, 4, 32}, {8, 1, 96}, {5, 5, 256}};

// Groups that divide the head, the whole head last.
std::vector<int> groups_of(int head_dim) {
  std::vector<int> groups;
  for (const int group : {32, 64, 128}) {
    if (group < head_dim && head_dim % group == 0) groups.push_back(group);
  }
  groups.push_back(head_dim);
  return groups;
}

struct CodecGroup {
  Codec codec;
  int group;
};

double largest_norm(const std::vector<float>& values, int head_dim) {
  double largest = 0;
  for (size_t i = 0; i < values.size(); i += static_cast<size_t>(head_dim)) {
    double squares = 0;
    for (size_t c = i; c < i + static_cast<size_t>(head_dim); ++c)
      squares += static_cast<double>(values[c]) * values[c];
    largest = std::max(largest, squares);
  }
  return std::sqrt(largest);
}

// The largest size, the middle and half the reach of a group of a row.
struct GroupOf {
  double largest = 0, middle, half;
  GroupOf(const float* x, int count) {
    const auto [low, high] = std::minmax_element(x, x + count);
    for (int c = 0; c < count; ++c) largest = std::max<double>(largest, std::abs(x[c]));
    middle = (static_cast<double>(*low) + *high) / 2;
    half = *high - middle;
  }
};

// Half of what a group reaches over, and the distance of a row [head_dim] from the middles of its groups: the largest
// of all.
struct Reach {
  double half_group = 0, row = 0;

  Reach(const std::vector<float>& values, int head_dim, int group) {
    for (size_t i = 0; i < values.size(); i += static_cast<size_t>(head_dim)) {
      double squares = 0;
      for (auto x = values.begin() + static_cast<int64_t>(i), end = x + head_dim; x != end; x += group) {
        const GroupOf of(&*x, group);
        half_group = std::max(half_group, of.half);
        for (int c = 0; c < group; ++c) squares += (x[c] - of.middle) * (x[c] - of.middle);
      }
      row = std::max(row, std::sqrt(squares));
    }
  }
};

// Keys and values of `first + tokens` positions, packed by reference, and the queries of the last `tokens`.
// Whether weights of values in bf16 become bf16, too.
bool rounds_weights(const Backend& backend, int64_t tokens) {
  return tokens >= 8 && backend.name() == "cpu/avx512_bf16";
}

class Case {
 public:
  Case(Heads shape, int64_t first, int64_t tokens, CodecGroup key, CodecGroup value)
      : shape_(shape),
        first_(first),
        tokens_(tokens),
        keys_(key.codec, key.group, shape.head_dim, shape.kv_heads, first + tokens, Lanes::kTokens),
        values_(value.codec, value.group, shape.head_dim, shape.kv_heads, first + tokens) {
    Random random(static_cast<uint64_t>(first * 1000 + tokens));
    exact_values_ = value.codec == Codec::kBf16;
    queries_ = normals(random, tokens * shape.heads * shape.head_dim);
    if (key.codec == Codec::kBf16) {
      // Such as bf16 holds once they are scaled: instructions for bf16 round them (docs/METHODS.md, "Attention").
      const float scale = std::numbers::log2e_v<float> / std::sqrt(static_cast<float>(shape.head_dim));
      for (float& q : queries_) q = to_float(to_bf16(q * scale)) / scale;
    }
    for (const OwnedSide* side : {&keys_, &values_}) {
      const int64_t columns = int64_t{shape.kv_heads} * shape.head_dim;
      Matrix x(DType::kF32, first + tokens, columns, 0, normals(random, (first + tokens) * columns));
      reference().pack(x.view(shape.kv_heads), 0, side->side);
    }
    const std::vector<float> keys = decoded(keys_.side), values = decoded(values_.side);
    query_norm_ = largest_norm(queries_, shape.head_dim);
    key_norm_ = largest_norm(keys, shape.head_dim);
    for (const float q : queries_) largest_query_ = std::max<double>(largest_query_, std::abs(q));
    for (const float x : values) largest_value_ = std::max<double>(largest_value_, std::abs(x));
    key_distance_ = Reach(keys, shape.head_dim, keys_.side.group).row;
    value_reach_ = Reach(values, shape.head_dim, values_.side.group).half_group;
  }

  // Queries stand among keys and values in the decoder's matrix, so their rows have gaps.
  std::vector<float> attend(Backend& backend, DType type) const {
    const int64_t columns = int64_t{shape_.heads} * shape_.head_dim;
    Matrix in(DType::kF32, tokens_, columns, 2 * shape_.kv_heads * shape_.head_dim, queries_),
        out(type, tokens_, columns, 32);
    GuardedScratch scratch(
        backend.attend_scratch_bytes(tokens_, first_ + tokens_, shape_.heads, shape_.kv_heads, shape_.head_dim));
    backend.attend(in.view(shape_.heads), first_, keys_.side, values_.side, shape_.kv_heads, out.view(shape_.heads),
                   scratch.view());
    EXPECT_TRUE(out.gaps_are_untouched());
    EXPECT_TRUE(scratch.guard_is_untouched()) << "more scratch used than stated";
    return out.values();
  }

  // A score is a sum of head_dim products, each no larger than |q| |k| together; an error e of every score changes each
  // weight by a factor of at most exp(2e). Weights and weighted values are sums over the keys; exponentials, rescaling
  // of the running sums (once a tile) and decoding of a value (two roundings) come on top.
  double bound(const Backend& backend) const {
    const double keys = static_cast<double>(first_ + tokens_), d = shape_.head_dim, factor = factor_error(backend);
    const double score = query_norm_ * key_norm_ / std::sqrt(d);
    const double weight = exact_values_ && rounds_weights(backend, tokens_) ? kBf16Unit / 2 : factor;
    return largest_value_ * (2 * score * (sum_error(d) + 4 * kF32Unit + factor) + 2 * sum_error(keys) + weight +
                             (16 + 2 * keys / kBlockTokens) * kF32Unit) +
           off_by_fours(backend);
  }

  // Codes of at most 4 bits meet numbers of 8 bits (docs/METHODS.md, "Products of codes"), whose roundings
  // are independent: six standard deviations. A step is the largest query / 127, or the largest weight of a tile / 255
  // (in a step of few tokens of a run of four), and an error counts by the distance of a code from the middle one;
  // weights add up to the largest of every tile, or run, at least. In a step of many tokens so do codes of 8 bits where
  // no weight is more than a quarter of the sum, which no key of the first tile is sure of. AMX takes many tokens with
  // 16 bits.
  double off_by_fours(const Backend& backend) const {
    const bool few = tokens_ < 8;
    const double keys = static_cast<double>(first_ + tokens_);
    if (!backend.name().starts_with("cpu/avx512") && !(few && backend.name() == "cpu/amx_bf16")) return 0;
    const auto narrow = [](const PackedSide& side) { return side.codec != Codec::kBf16 && side.levels() <= 15; };
    const auto halved = [&](const PackedSide& side) { return !few && side.codec == Codec::kInt8; };
    const double deviation = 6 / std::sqrt(12.0), of_weights = deviation * value_reach_ / 255;
    const double of_queries = deviation * largest_query_ / 127 * key_distance_ / std::sqrt(shape_.head_dim);
    double off = 0;
    if (narrow(keys_.side) || (halved(keys_.side) && keys > kBlockTokens)) off += 2 * of_queries * largest_value_;
    if (narrow(values_.side)) off += of_weights * std::sqrt(few ? 4 * kBlockTokens : kBlockTokens);
    if (halved(values_.side)) off += of_weights / 4 * std::sqrt(keys);
    return off;
  }

  void check() const {
    const std::vector<float> exact = attend(reference(), DType::kF32);
    for (const auto& backend : tested()) {
      const double off = bound(*backend);
      for (const DType type : {DType::kF32, backend->activation()}) {
        SCOPED_TRACE(fmt::format("{} heads {}/{}/{}, keys {}g{} values {}g{}, {} tokens from {}", backend->name(),
                                 shape_.heads, shape_.kv_heads, shape_.head_dim, bits_of(keys_.side.codec),
                                 keys_.side.group, bits_of(values_.side.codec), values_.side.group, tokens_, first_));
        expect_close(attend(*backend, type), exact,
                     [&](size_t i) { return off + (type == DType::kBf16 ? storing_error(type, exact[i]) : 0.0); });
        if (type == DType::kF32 && backend->activation() == DType::kF32) break;
      }
    }
  }

 private:
  std::vector<float> decoded(const PackedSide& side) const {
    std::vector<float> out(static_cast<size_t>((first_ + tokens_) * shape_.kv_heads * shape_.head_dim));
    float* row = out.data();
    for (int head = 0; head < shape_.kv_heads; ++head) {
      for (int64_t t = 0; t < first_ + tokens_; ++t, row += shape_.head_dim) decode_row(side, head, t, row);
    }
    return out;
  }

  Heads shape_;
  int64_t first_, tokens_;
  bool exact_values_ = false;  // in bf16
  OwnedSide keys_, values_;
  std::vector<float> queries_;
  double query_norm_ = 0, largest_query_ = 0, key_norm_ = 0, key_distance_ = 0, largest_value_ = 0, value_reach_ = 0;
};

TEST(AttendContract, EveryPairOfCodecsAndGroups) {
  int turn = 0;
  for (const Heads& shape : kHeads) {
    const std::vector<int> groups = groups_of(shape.head_dim);
    for (const CodecInfo& key : kCodecs) {
      for (const CodecInfo& value : kCodecs) {
        for (size_t g = 0; g < groups.size(); ++g, ++turn) {
          if (g > 0 && !has_scale(key.codec) && !has_scale(value.codec)) continue;
          // In turn few queries (keys split among threads) and many (queries in blocks), across a block's end; many
          // also within the first, which has 16 bits of queries.
          const int64_t tokens = turn % 2 == 0 ? 2 : 9, first = turn % 4 == 3 ? 51 : 60;
          Case(shape, first, tokens, {key.codec, groups[g]}, {value.codec, groups[(g + turn / 7) % groups.size()]})
              .check();
          if (testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

TEST(AttendContract, EveryPosition) {
  size_t turn = 0;
  const auto next = [&](int head_dim) -> CodecGroup {
    const std::vector<int> groups = groups_of(head_dim);
    turn += 3;
    return {kCodecs[turn % kCodecs.size()].codec, groups[turn / 5 % groups.size()]};
  };
  for (const Heads& shape : kHeads) {
    for (const int64_t first : {0, 1, 63, 64, 200, 1500}) {
      for (const int64_t tokens : {1, 4, 7, 8, 40, 130}) {
        // The reference takes a second for the largest of these; two shapes stand for all there.
        const bool large = first * tokens > 9000;
        if (large && !(shape.head_dim == 32 || (shape.heads == 9 && tokens == 40))) continue;
        const CodecGroup key = next(shape.head_dim), value = next(shape.head_dim);
        Case(shape, first, tokens, key, value).check();
      }
      if (testing::Test::HasFailure()) return;
    }
  }
}

// A layer of one shape whose output tells of what became of its keys or of its values.
class Probe {
 public:
  static constexpr int kHeadCount = 14, kKvHeads = 2, kHeadDim = 64, kGroup = 32, kTokens = 8;

  Probe(Codec key, Codec value, int64_t first, const std::vector<float>& keys, const std::vector<float>& values,
        std::vector<float> queries)
      : first_(first),
        keys_(key, kGroup, kHeadDim, kKvHeads, first + kTokens, Lanes::kTokens),
        values_(value, kGroup, kHeadDim, kKvHeads, first + kTokens),
        queries_(std::move(queries)) {
    pack(keys, keys_);
    pack(values, values_);
  }
  // [kTokens][kHeadCount][kHeadDim], `step` tokens (all, or 1) at a time.
  std::vector<float> attend(Backend& backend, int step = kTokens) {
    constexpr int64_t kColumns = kHeadCount * kHeadDim;
    std::vector<float> all;
    for (int t = 0; t < kTokens; t += step) {
      const auto from = queries_.begin() + t * kColumns;
      Matrix in(DType::kF32, step, kColumns, 0, {from, from + step * kColumns}), out(DType::kF32, step, kColumns, 0);
      GuardedScratch scratch(backend.attend_scratch_bytes(step, first_ + kTokens, kHeadCount, kKvHeads, kHeadDim));
      backend.attend(in.view(kHeadCount), first_ + t, keys_.side, values_.side, kKvHeads, out.view(kHeadCount),
                     scratch.view());
      const std::vector<float> part = out.values();
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }
  static std::vector<float> row(const OwnedSide& side, int head, int64_t token) {
    std::vector<float> values(kHeadDim);
    decode_row(side.side, head, token, values.data());
    return values;
  }
  const OwnedSide& keys() const { return keys_; }
  const OwnedSide& values() const { return values_; }

 private:
  void pack(const std::vector<float>& values, const OwnedSide& side) const {
    Matrix x(DType::kF32, first_ + kTokens, kKvHeads * kHeadDim, 0, values);
    reference().pack(x.view(kKvHeads), 0, side.side);
  }

  int64_t first_;
  OwnedSide keys_, values_;
  std::vector<float> queries_;
};

// Every tested backend with all tokens of a probe at once and one by one.
std::vector<std::pair<Backend*, int>> in_chunks_and_steps() {
  std::vector<std::pair<Backend*, int>> all;
  for (const auto& backend : tested()) {
    for (const int step : {Probe::kTokens, 1}) all.emplace_back(backend.get(), step);
  }
  return all;
}

// One value for each of 64 tokens, 1 in a channel of its own, so that the output is the weights and their logarithms
// the scores.
struct WeightProbe {
  WeightProbe(Codec key, int64_t first_of_all, int64_t from, int64_t tokens, float sharpness)
      : begin(from), count(tokens) {
    const int64_t all = first_of_all + Probe::kTokens;
    Random random(7);
    std::vector<float> ones(static_cast<size_t>(all * Probe::kKvHeads * Probe::kHeadDim));
    for (int64_t t = 0; t < count; ++t) {
      for (int head = 0; head < Probe::kKvHeads; ++head)
        ones[static_cast<size_t>(((begin + t) * Probe::kKvHeads + head) * Probe::kHeadDim + t)] = 1;
    }
    queries = normals(random, Probe::kTokens * Probe::kHeadCount * Probe::kHeadDim);
    for (float& q : queries) q *= sharpness;
    probe.emplace(key, Codec::kBf16, first_of_all, normals(random, static_cast<int64_t>(ones.size())), ones, queries);
    exact = probe->attend(reference());
  }

  // Of scores from exact ones, in `most` times what independent roundings of queries in steps of their largest / 127
  // come to, and what bf16 takes from weights: sqrt(1 / 3) of 2^-8 for mantissas of 1, less above.
  double deviation(Backend& backend, int step, double most) {
    const std::vector<float> got = probe->attend(backend, step);
    double found = 0, stated = 0;
    for (int row = 0; row < Probe::kTokens * Probe::kHeadCount; ++row) {
      const float* query = queries.data() + row * Probe::kHeadDim;
      const int head = row % Probe::kHeadCount / (Probe::kHeadCount / Probe::kKvHeads);
      double sum = 0, squares = 0, of_row = 0, seen = 0;
      for (int64_t t = 0; t < count; ++t) {
        const auto at = static_cast<size_t>(row * Probe::kHeadDim + t);
        if (exact[at] < 1e-20f) continue;
        const double off = std::log(static_cast<double>(got[at]) / exact[at]);
        sum += off;
        squares += off * off;
        ++seen;
        const std::vector<float> key = Probe::row(probe->keys(), head, begin + t);
        for (int c = 0; c < Probe::kHeadDim; c += Probe::kGroup) {
          const double of_query = GroupOf(query + c, Probe::kGroup).largest / 127 / std::sqrt(Probe::kHeadDim);
          const double middle = GroupOf(&key[static_cast<size_t>(c)], Probe::kGroup).middle;
          for (int i = c; i < c + Probe::kGroup; ++i)
            of_row += of_query * of_query / 12 * std::pow(key[static_cast<size_t>(i)] - middle, 2);
        }
      }
      found += squares - sum * sum / seen;
      stated += most * most * of_row * (1 - 1 / seen);
      if (rounds_weights(backend, step)) stated += (seen - 1) * std::pow(2, -16) / 3;
    }
    return std::sqrt(found / stated);
  }

  int64_t begin, count;
  std::vector<float> queries, exact;
  std::optional<Probe> probe;
};

// Queries in steps of their largest / 127 against int4 keys: the variance of a score is that of independent roundings.
TEST(AttendContract, QueriesOfEightBitsCostWhatIsStated) {
  WeightProbe probe(Codec::kInt4, 53, 0, 53, 1);  // no whole lane of four at the end
  for (const auto& [backend, step] : in_chunks_and_steps())
    EXPECT_LE(probe.deviation(*backend, step, 1.1), 1) << backend->name() << ", " << step << " at a time";
}

// So it is against int8 keys of a later tile, in a step of many tokens, while no weight is a quarter of all. In the
// second probe one key has most of it, for one query at least of those that are multiplied together, and all 16 bits
// count.
TEST(AttendContract, LowerHalvesOfQueriesCountWhereWeightsAreUneven) {
  WeightProbe even(Codec::kInt8, 200, 128, 64, 0.3f), uneven(Codec::kInt8, 200, 128, 64, 8);
  for (const auto& [backend, step] : in_chunks_and_steps()) {
    EXPECT_LE(even.deviation(*backend, step, 1.1), 1) << backend->name() << ", " << step << " at a time";
    EXPECT_LE(uneven.deviation(*backend, step, 0.02), 1) << backend->name() << ", " << step << " at a time";
  }
}

// Weights in steps of a tile's (one by one: a run's) largest / 255 against int4 values, and int8 ones of many tokens at
// once, each weight times the scale of its token. Queries of zero make all weights the same.
TEST(AttendContract, WeightsOfEightBitsCostWhatIsStated) {
  for (const Codec codec : {Codec::kInt4, Codec::kInt8}) {
    constexpr int64_t kFirst = 1013, kAll = kFirst + Probe::kTokens;  // nor here
    Random random(8);
    const int64_t count = kAll * Probe::kKvHeads * Probe::kHeadDim;
    const std::vector<float> keys = normals(random, count), values = normals(random, count);
    Probe probe(Codec::kInt8, codec, kFirst, keys, values,
                std::vector<float>(Probe::kTokens * Probe::kHeadCount * Probe::kHeadDim));
    const std::vector<float> exact = probe.attend(reference());
    // Of the last token, which sees all of them; all heads of a group are the same.
    const auto last = static_cast<size_t>((Probe::kTokens - 1) * Probe::kHeadCount * Probe::kHeadDim);
    double stated = 0;
    for (int head = 0; head < Probe::kKvHeads; ++head) {
      for (int c = 0; c < Probe::kHeadDim; c += Probe::kGroup) {
        for (int64_t tile = 0; tile < kAll; tile += kBlockTokens) {
          double squares = 0, largest = 0;  // of codes less the middle one, in scales; of scales
          for (int64_t t = tile; t < std::min<int64_t>(tile + kBlockTokens, kAll); ++t) {
            const std::vector<float> row = Probe::row(probe.values(), head, t);
            const GroupOf group(&row[static_cast<size_t>(c)], Probe::kGroup);
            const double scale = 2 * group.half / probe.values().side.levels();
            largest = std::max(largest, scale);
            for (int i = c; i < c + Probe::kGroup; ++i)
              squares += std::pow((row[static_cast<size_t>(i)] - group.middle) / scale, 2);
          }
          stated += std::pow(largest / 255 / static_cast<double>(kAll), 2) / 12 * squares;
        }
      }
    }
    for (const auto& [backend, step] : in_chunks_and_steps()) {
      const std::vector<float> got = probe.attend(*backend, step);
      double found = 0;
      for (int head = 0; head < Probe::kKvHeads; ++head) {
        const size_t begin = last + static_cast<size_t>(head * Probe::kHeadCount / Probe::kKvHeads * Probe::kHeadDim);
        for (size_t i = begin; i < begin + Probe::kHeadDim; ++i) found += std::pow(got[i] - exact[i], 2);
      }
      EXPECT_LE(std::sqrt(found / stated), 1.2) << backend->name() << ", " << step << " at a time";
    }
  }
}

// "Up to" in the header: scratch stated for a context must hold every shorter one.
TEST(AttendContract, ScratchForMoreHoldsLess) {
  for (const auto& backend : tested()) {
    for (const int64_t tokens : {1, 7, 8, 256}) {
      size_t before = 0;
      for (int64_t context = tokens; context < 40000; context += context < 16000 ? 1 : 64) {
        const size_t bytes = backend->attend_scratch_bytes(tokens, context, 9, 3, 64);
        ASSERT_GE(bytes, before) << backend->name() << ", " << tokens << " tokens, context " << context;
        before = bytes;
      }
    }
    EXPECT_LE(backend->attend_scratch_bytes(1, 100, 9, 3, 64), backend->attend_scratch_bytes(2, 100, 9, 3, 64));
    EXPECT_LE(backend->attend_scratch_bytes(7, 30000, 9, 3, 64), backend->attend_scratch_bytes(8, 30000, 9, 3, 64));
  }
}

// Groups with everything that floats can be but NaN.
std::vector<float> wild(Random& random, int64_t n) {
  static constexpr float kWild[] = {0,     -0.0f, 1e-40f, -1e-42f,   65504, 65520,
                                    -7e4f, 1e30f, -3e38f, HUGE_VALF, 1e-7f, 2049};
  std::vector<float> values = normals(random, n);
  for (int64_t group = 0; group < n; group += 32) {
    float* x = &values[static_cast<size_t>(group)];
    switch (random.below(6)) {
      case 0:
        std::fill_n(x, 32, x[0]);
        break;
      case 1:
        for (int i = 0; i < 32; ++i) x[i] = i % 2 == 0 ? 0.0f : -0.0f;
        break;
      case 2:
        x[random.below(32)] = kWild[random.below(std::size(kWild))];
        break;
      case 3:
        for (int i = 0; i < 32; ++i)
          x[i] = static_cast<float>(static_cast<int>(random.below(9)));  // ties between codes
        break;
      default:
        break;
    }
  }
  return values;
}

TEST(PackContract, BytesAreTheReferences) {
  for (const CodecInfo& info : kCodecs) {
    for (const Heads& shape : kHeads) {
      for (const int group : groups_of(shape.head_dim)) {
        for (const auto& [first, tokens] : {std::pair<int64_t, int64_t>{0, 1}, {3, 9}, {62, 5}, {64, 70}}) {
          Random random(static_cast<uint64_t>(group * 100 + tokens));
          const Lanes lanes = random.below(2) == 0 ? Lanes::kTokens : Lanes::kChannels;
          const int64_t columns = int64_t{shape.kv_heads} * shape.head_dim;
          Matrix x(DType::kF32, tokens, columns, 96, wild(random, tokens * columns));
          OwnedSide wanted(info.codec, group, shape.head_dim, shape.kv_heads, first + tokens, lanes);
          reference().pack(x.view(shape.kv_heads), first, wanted.side);
          for (const auto& backend : tested()) {
            OwnedSide packed(info.codec, group, shape.head_dim, shape.kv_heads, first + tokens, lanes);
            backend->pack(x.view(shape.kv_heads), first, packed.side);
            ASSERT_EQ(packed.bytes, wanted.bytes)
                << fmt::format("{} {}g{}, head size {}, {} tokens from {}", backend->name(), info.name, group,
                               shape.head_dim, tokens, first);
          }
        }
      }
    }
  }
}

// One token's NaN is that token's own trouble.
TEST(PackContract, NanStaysInItsGroup) {
  for (const auto& backend : tested()) {
    for (const CodecInfo& info : kCodecs) {
      Random random(5);
      std::vector<float> x = normals(random, 4 * 128);
      OwnedSide clean(info.codec, 32, 64, 2, 4), spoiled(info.codec, 32, 64, 2, 4);
      Matrix before(DType::kF32, 4, 128, 0, x);
      backend->pack(before.view(2), 0, clean.side);
      x[128 + 64 + 40] = NAN;  // token 1, head 1, group 1
      Matrix after(DType::kF32, 4, 128, 0, x);
      backend->pack(after.view(2), 0, spoiled.side);
      for (int head = 0; head < 2; ++head) {
        for (int token = 0; token < 4; ++token) {
          std::vector<float> a(64), b(64);
          decode_row(clean.side, head, token, a.data());
          decode_row(spoiled.side, head, token, b.data());
          const int compared = head == 1 && token == 1 ? 32 : 64;
          EXPECT_TRUE(std::equal(a.begin(), a.begin() + compared, b.begin())) << backend->name() << " " << info.name;
        }
      }
    }
  }
}

class OneThread {
 public:
  OneThread() : before_(thread_count()) { set_thread_count(1); }
  ~OneThread() { set_thread_count(before_); }

 private:
  int before_;
};

TEST(ThreadContract, ResultsDoNotDependOnTheNumberOfThreads) {
  Random random(6);
  for (const auto& backend : tested()) {
    for (const auto& [first, tokens] : {std::pair<int64_t, int64_t>{1300, 1}, {1021, 3}, {70, 130}}) {
      const Case attention({9, 3, 64}, first, tokens, {Codec::kInt4, 32}, {Codec::kBf16, 64});
      const std::vector<float> x = normals(random, tokens * 192), weight = normals(random, 192);
      Matrix in(DType::kF32, tokens, 192, 0, x);
      const auto run = [&] {
        OwnedSide packed(Codec::kInt3, 32, 64, 3, first + tokens);
        Matrix norm(backend->activation(), tokens, 192);
        backend->pack(in.view(3), first, packed.side);
        backend->rms_norm(in.view(), weight.data(), 1e-6f, norm.view());
        return std::tuple(attention.attend(*backend, DType::kF32), packed.bytes, norm.bytes());
      };
      set_thread_count(2);
      const auto two = run();
      const OneThread one;
      EXPECT_EQ(run(), two) << backend->name() << ", " << tokens << " tokens";
    }
  }
}

}  // namespace
}  // namespace kvpareto
