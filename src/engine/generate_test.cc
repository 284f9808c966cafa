#include "engine/generate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "engine/batch.h"
#include "model/testing.h"

namespace kvpareto {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

int32_t choose_once(const std::vector<float>& logits, const Sampling& sampling, Random& random) {
  std::vector<int32_t> order;
  return choose(logits, sampling, random, order);
}

// What choose() should draw from: softmax at the temperature, the top_k largest, of these the fewest with mass top_p.
std::vector<double> wanted_probabilities(const std::vector<float>& logits, const Sampling& sampling) {
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  if (sampling.top_k > 0) order.resize(std::min(order.size(), static_cast<size_t>(sampling.top_k)));
  std::vector<double> p(logits.size());
  double mass = 0;
  for (const size_t v : order) mass += p[v] = std::exp((logits[v] - logits[order[0]]) / sampling.temperature);
  double reached = 0, kept = 0;
  for (const size_t v : order) {
    if (reached >= sampling.top_p * mass && reached > 0) p[v] = 0;
    reached += p[v];
    kept += p[v];
  }
  for (double& x : p) x /= kept;
  return p;
}

void expect_drawn_as(const std::vector<float>& logits, const Sampling& sampling) {
  const std::vector<double> wanted = wanted_probabilities(logits, sampling);
  constexpr int kDraws = 20000;
  std::vector<int> counts(logits.size());
  Random random(3);
  for (int i = 0; i < kDraws; ++i) ++counts[static_cast<size_t>(choose_once(logits, sampling, random))];
  for (size_t v = 0; v < wanted.size(); ++v) {
    const double expected = kDraws * wanted[v];
    // Five standard deviations, and some more where counts are too few to be normal; what has no probability is never
    // drawn.
    const double bound = expected > 0 ? 5 * std::sqrt(expected) + 4 : 0;
    EXPECT_NEAR(counts[v], expected, bound) << "token " << v << ", temperature " << sampling.temperature << ", top_p "
                                            << sampling.top_p << ", top_k " << sampling.top_k;
  }
}

TEST(Choose, DrawsWithTheStatedProbabilities) {
  const std::vector<float> few = {0.5f, 2, -1, 2, kNever, 1.5f, -30, 0};
  // Longer than the front that the nucleus is looked for in at first.
  std::vector<float> many(300);
  for (size_t v = 0; v < many.size(); ++v) many[v] = static_cast<float>(v * 37 % 300) / 100;
  for (const std::vector<float>& logits : {few, many}) {
    for (const double temperature : {1.0, 0.5, 3.0}) {
      for (const double top_p : {1.0, 0.9, 0.4}) {
        for (const int top_k : {0, 3, 1000}) expect_drawn_as(logits, {temperature, top_p, top_k});
      }
    }
  }
}

TEST(Choose, GreedyTakesTheFirstOfTheLargest) {
  Random random(1);
  EXPECT_EQ(choose_once(std::vector<float>{0, 3, 3, 1}, {}, random), 1);
  EXPECT_EQ(choose_once(std::vector<float>{kNever, kNever, -5, kNever}, {}, random), 2);
  EXPECT_EQ(choose_once(std::vector<float>{kNever, kNever}, {}, random), 0);
}

// What narrows the choice to one token leaves no chance.
TEST(Choose, NarrowestChoicesAreGreedy) {
  const std::vector<float> logits = {1, 4, 4, kNever, 3};
  Random random(1);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(choose_once(logits, {.temperature = 1, .top_k = 1}, random), 1);
    EXPECT_EQ(choose_once(logits, {.temperature = 1, .top_p = 1e-9}, random), 1);
    EXPECT_EQ(choose_once(logits, {.temperature = 1, .top_p = 0}, random), 1);
    EXPECT_NE(choose_once(logits, {.temperature = 1e-6}, random), 4);
  }
}

// Nothing to choose from is still answered with a token.
TEST(Choose, ImpossibleLogitsGiveSomeToken) {
  Random random(1);
  for (const float x : {kNever, std::numeric_limits<float>::quiet_NaN()}) {
    const std::vector<float> logits(5, x);
    for (const Sampling& sampling : {Sampling{}, Sampling{.temperature = 1}, Sampling{.temperature = 1, .top_p = 0.5},
                                     Sampling{.temperature = 1, .top_p = 0.5, .top_k = 2}}) {
      const int32_t token = choose_once(logits, sampling, random);
      EXPECT_TRUE(token >= 0 && token < 5) << token;
    }
  }
}

TEST(Choose, SameSeedSameTokens) {
  const std::vector<float> logits = {1, 2, 3, 2, 1};
  Random a(9), b(9);
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(choose_once(logits, {.temperature = 1}, a), choose_once(logits, {.temperature = 1}, b));
}

class Generate : public testing::Test {
 protected:
  std::unique_ptr<Backend> backend_ = make_backend("auto");
  Model model_ = load_tiny("tiny-llama", *backend_, parse_weights("w8g128e8"));
  std::vector<int32_t> prompt_ = {7, 100, 42, 250, 3, 3, 99};

  std::vector<int32_t> run(int context, int max_tokens, const Sampling& sampling = {}, uint64_t seed = 1,
                           size_t stop_after = 1000) {
    Session session(model_, {.scheme = parse_scheme("k8v8g32"), .context = context, .chunk = 4});
    Random random(seed);
    std::vector<int32_t> seen;
    const auto tokens = generate(session, prompt_, max_tokens, sampling, random, [&](int32_t token) {
      seen.push_back(token);
      return seen.size() < stop_after;
    });
    EXPECT_EQ(tokens, seen);
    return tokens;
  }
};

TEST_F(Generate, GreedyIsTheSameEveryTimeAndTakesTheLikeliest) {
  const std::vector<int32_t> tokens = run(64, 20);
  ASSERT_EQ(tokens.size(), 20u);
  EXPECT_EQ(run(64, 20, {}, 5), tokens);
  EXPECT_EQ(run(64, 8), std::vector<int32_t>(tokens.begin(), tokens.begin() + 8));
  Session session(model_, {.scheme = parse_scheme("k8v8g32"), .context = 64, .chunk = 4});
  session.prefill(std::span(prompt_).first(6));
  int32_t last = prompt_.back();
  for (const int32_t token : tokens) {
    const std::span<const float> logits = session.next({&last, 1});
    EXPECT_EQ(std::max_element(logits.begin(), logits.end()) - logits.begin(), token);
    last = token;
  }
}

TEST_F(Generate, SamplingFollowsTheSeed) {
  const Sampling sampling{.temperature = 1};
  EXPECT_EQ(run(64, 20, sampling, 5), run(64, 20, sampling, 5));
  EXPECT_NE(run(64, 20, sampling, 5), run(64, 20, sampling, 6));
}

TEST_F(Generate, StopsWhenToldAndWhenTheContextIsFull) {
  EXPECT_EQ(run(64, 20, {}, 1, 3).size(), 3u);
  EXPECT_EQ(run(10, 20).size(), 4u) << "7 tokens of prompt, 3 more in the cache, and the one that follows";
  EXPECT_EQ(run(7, 20).size(), 1u);
  EXPECT_EQ(run(64, 0).size(), 0u);
  EXPECT_THROW(run(6, 20), Error);
  prompt_.clear();
  EXPECT_EQ(run(64, 5).size(), 0u);
}

TEST(SampleBatch, OfTwoIsTwoOfOne) {
  for (const std::string& name : backend_names()) {
    const auto backend = make_backend(name);
    const Model model = load_tiny("tiny-qwen2", *backend);
    const std::vector<int32_t> a = {5, 80, 33}, b = {200, 11, 7, 42, 19};
    int steps = 0;
    const auto both = sample_batch(model, {a, b}, 15, {}, 1, {}, [&](int done) { steps = done; });
    EXPECT_EQ(steps, 14);
    ASSERT_EQ(both.size(), 2u);
    EXPECT_EQ(both[0], sample_batch(model, {a}, 15, {}, 1, {})[0]) << name;
    EXPECT_EQ(both[1], sample_batch(model, {b}, 15, {}, 1, {})[0]) << name;
    for (const auto& [prompt, whole] : {std::pair(a, both[0]), std::pair(b, both[1])}) {
      ASSERT_EQ(whole.size(), 15u);
      EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), whole.begin()));
    }
    EXPECT_EQ(backend->allocated(Purpose::kKv), 0u);
  }
}

TEST(SampleBatch, SequencesDrawFromTheirOwnSeedsAndNeverWhatIsBanned) {
  const auto backend = make_backend("auto");
  const Model model = load_tiny("tiny-llama", *backend);
  std::vector<int32_t> banned;
  for (int32_t token = 0; token < 280; ++token) banned.push_back(token);
  const auto batch = sample_batch(model, {{290, 289}, {290, 289}, {290, 289}}, 32, {.temperature = 2}, 7, banned);
  EXPECT_NE(batch[0], batch[1]);
  EXPECT_EQ(batch[1], sample_batch(model, {{290, 289}}, 32, {.temperature = 2}, 8, banned)[0]);
  for (const auto& sequence : batch) {
    for (const int32_t token : sequence) EXPECT_GE(token, 280);
  }
}

}  // namespace
}  // namespace kvpareto
