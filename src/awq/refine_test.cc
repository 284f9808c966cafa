#include "awq/refine.h"

#include <gtest/gtest.h>

#include <cmath>

#include "awq/testing.h"
#include "base/parallel.h"

namespace kvpareto {
namespace {

struct Case {
  WeightFormat format;
  bool compensate;
};

class Refine : public testing::TestWithParam<Case> {
 protected:
  RoundedWeights rounded() {
    return round_weights(backend(), weights_, GetParam().format, factor_, {GetParam().compensate, true});
  }
  double error(const RoundedWeights& rounded) { return factor_.output_error(difference(rounded, weights_)); }

  Random random_{21};
  std::vector<float> x_ = correlated(random_, kTokens), weights_ = normal_weights(random_);
  Factor factor_{backend(), moment_of(x_), 0.05};
};

TEST_P(Refine, EveryPassLowersTheOutputError) {
  RoundedWeights made = rounded();
  double before = error(made);
  const double at_first = before;
  for (int pass = 0; pass < 3; ++pass) {
    refine(backend(), weights_, factor_, 1, made);
    const double after = error(made);
    EXPECT_LT(after, before) << "pass " << pass;
    before = after;
  }
  // What feedback left is less than what it did.
  EXPECT_LT(before, (GetParam().compensate ? 0.97 : 0.7) * at_first);
  for (const uint8_t code : made.codes) {
    ASSERT_GE(code, least_code(made.format));
    ASSERT_LE(code, most_code(made.format));
  }
}

// At the end no code of any row can be moved by one, nor a scale by a little, for a smaller error.
TEST_P(Refine, EndsWhereNoSingleMoveGains) {
  RoundedWeights made = rounded();
  refine(backend(), weights_, factor_, 60, made);
  const double least = error(made);
  Random random(5);
  for (int trial = 0; trial < 300; ++trial) {
    RoundedWeights other = made;
    const size_t at = random.below(other.codes.size());
    if (trial % 3 == 0) {
      f16& scale = other.scales[at / static_cast<size_t>(made.format.group)];
      scale = to_f16(to_float(scale) * (trial % 2 == 0 ? 1.01f : 0.99f));
    } else {
      const int code = other.codes[at] + (trial % 2 == 0 ? 1 : -1);
      if (code < least_code(made.format) || code > most_code(made.format)) continue;
      other.codes[at] = static_cast<uint8_t>(code);
    }
    EXPECT_GT(error(other), (1 - 1e-5) * least) << "trial " << trial;
  }
}

TEST_P(Refine, DoesNotDependOnThreads) {
  RoundedWeights one = rounded(), two = one;
  const int threads = thread_count();
  set_thread_count(1);
  refine(backend(), weights_, factor_, 2, one);
  set_thread_count(2);
  refine(backend(), weights_, factor_, 2, two);
  set_thread_count(threads);
  EXPECT_EQ(one.codes, two.codes);
  EXPECT_EQ(one.values(), two.values());
}

TEST_P(Refine, PassesAreTheSameApart) {
  // More passes are the same as several calls: what is carried from one to the next is what is measured anew.
  RoundedWeights at_once = rounded(), apart = at_once;
  refine(backend(), weights_, factor_, 3, at_once);
  for (int pass = 0; pass < 3; ++pass) refine(backend(), weights_, factor_, 1, apart);
  EXPECT_NEAR(error(at_once), error(apart), 2e-3 * error(apart));
}

// Zero weights have no scale, and stay zero.
TEST_P(Refine, LeavesGroupsOfZerosAlone) {
  std::fill_n(weights_.begin(), 2 * kColumns, 0.0f);
  RoundedWeights made = rounded();
  refine(backend(), weights_, factor_, 2, made);
  for (int64_t c = 0; c < kColumns; ++c) EXPECT_EQ(made.value(1, c), 0);
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
  const WeightFormat& format = info.param.format;
  return "w" + std::to_string(format.bits()) + "g" + std::to_string(format.group) +
         (info.param.compensate ? "" : "nearest");
}

INSTANTIATE_TEST_SUITE_P(Formats, Refine,
                         testing::Values(Case{{WeightCodec::kInt4, 64}, true}, Case{{WeightCodec::kInt4, 32}, true},
                                         Case{{WeightCodec::kInt3, 64}, true}, Case{{WeightCodec::kInt8, 64}, true},
                                         Case{{WeightCodec::kInt4, 64}, false}),
                         name_of);

}  // namespace
}  // namespace kvpareto
