#include "eval/divergence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "eval/testing.h"

namespace kvpareto {
namespace {

using ::testing::HasSubstr;

std::vector<float> random_logits(size_t count, double size, Random& random) {
  std::vector<float> logits(count);
  for (float& logit : logits) logit = static_cast<float>(size * random.normal());
  return logits;
}

std::vector<long double> log_softmax(const std::vector<float>& logits) {
  long double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<long double>(logit));
  std::vector<long double> logs;
  for (const float logit : logits) logs.push_back(logit - std::log(sum));
  return logs;
}

TEST(CompareLogits, IsTheTextbookSum) {
  Random random(1);
  for (const double noise : {3.0, 0.1, 1e-3}) {
    const auto reference = random_logits(5000, 3, random);
    auto candidate = reference;
    for (float& logit : candidate) logit += static_cast<float>(noise * random.normal()) + 2.5f;
    const auto p = log_softmax(reference), q = log_softmax(candidate);
    long double divergence = 0;
    for (size_t i = 0; i < p.size(); ++i) divergence += std::exp(p[i]) * (p[i] - q[i]);
    const TokenScore score = compare_logits(reference, candidate, 17);
    EXPECT_NEAR(score.divergence, static_cast<double>(divergence), 1e-12);
    EXPECT_NEAR(score.reference_loss, static_cast<double>(-p[17]), 1e-12);
    EXPECT_NEAR(score.loss, static_cast<double>(-q[17]), 1e-12);
  }
}

TEST(CompareLogits, RunsFromReferenceToCandidate) {
  // p = (1/2, 1/2), q = (1/4, 3/4): KL(p || q) = log(2 / sqrt(3)), and not KL(q || p).
  const std::vector<float> even = {0, 0}, uneven = {0, std::log(3.0f)};
  EXPECT_NEAR(compare_logits(even, uneven, 0).divergence, std::log(2 / std::sqrt(3.0)), 1e-7);
  EXPECT_NEAR(compare_logits(uneven, even, 0).divergence, 0.75 * std::log(1.5) + 0.25 * std::log(0.5), 1e-7);
}

TEST(CompareLogits, EqualLogitsDivergeByExactlyNothing) {
  Random random(2);
  const auto logits = random_logits(3000, 40, random);
  const TokenScore score = compare_logits(logits, logits, 5);
  EXPECT_EQ(score.divergence, 0);
  EXPECT_EQ(score.loss, score.reference_loss);
  EXPECT_TRUE(score.same_top);
}

TEST(CompareLogits, TopAndTarget) {
  const std::vector<float> first = {1, 3, 3}, second = {1, 2, 3};
  EXPECT_FALSE(compare_logits(first, second, 0).same_top) << "the smaller of two equal ids is the top";
  EXPECT_TRUE(std::isnan(compare_logits(first, second, kNoTarget).loss));
  EXPECT_NEAR(compare_logits(first, second, 2).loss, std::log(1 + std::exp(-1.0) + std::exp(-2.0)), 1e-12);
}

TEST(CompareLogits, NotFiniteShows) {
  const std::vector<float> good = {1, 2}, broken = {1, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_TRUE(std::isnan(compare_logits(good, broken, 0).divergence));
  EXPECT_TRUE(std::isnan(compare_logits(broken, good, 0).divergence));
}

TokenScore score_of(double divergence, double loss) { return {divergence, loss, 1.0, divergence < 0.5}; }

TEST(Summarize, MeansOverTextsWithTheirError) {
  const std::vector<std::vector<TokenScore>> texts = {{score_of(0, 1), score_of(0.2, 2)},
                                                      {score_of(0.3, 2), score_of(0.7, 4)}};
  const DivergenceFigures figures = summarize(texts);
  EXPECT_DOUBLE_EQ(figures.values.at("kld_mean").value, 0.3);
  EXPECT_DOUBLE_EQ(figures.values.at("kld_mean").standard_error, 0.2);  // of the means .1 and .5
  EXPECT_EQ(figures.values.at("kld_mean").samples, 2);
  EXPECT_THAT(figures.texts.at("kld_mean"), ::testing::ElementsAre(0.1, 0.5));
  EXPECT_DOUBLE_EQ(figures.values.at("same_top").value, 0.75);
  EXPECT_DOUBLE_EQ(figures.values.at("delta_nll").value, 1.25);
  EXPECT_DOUBLE_EQ(figures.values.at("ppl").value, std::exp(2.25));
  EXPECT_NEAR(figures.values.at("kld_p999").value, 0.7, 0.01);
}

TEST(Summarize, OneTextIsCutIntoBlocks) {
  std::vector<TokenScore> text;
  for (int i = 0; i < 200; ++i) text.push_back(score_of(i < 64 ? 1 : i < 128 ? 2 : 6, 1));
  const DivergenceFigures figures = summarize({&text, 1});
  const Estimate found = figures.values.at("kld_mean");
  EXPECT_DOUBLE_EQ(found.value, (64.0 + 128 + 72 * 6) / 200);
  EXPECT_EQ(found.samples, 3);
  EXPECT_NEAR(found.standard_error, std::sqrt((4.0 + 1 + 9) / 2 / 3), 1e-12);  // blocks 1, 2, 6
}

TEST(Summarize, TheTextsEndHasNoLoss) {
  std::vector<TokenScore> text = {score_of(0.1, 3), score_of(0.3, 0)};
  text[1].loss = text[1].reference_loss = std::numeric_limits<double>::quiet_NaN();
  const DivergenceFigures figures = summarize({&text, 1});
  EXPECT_DOUBLE_EQ(figures.values.at("kld_mean").value, 0.2);
  EXPECT_DOUBLE_EQ(figures.values.at("delta_nll").value, 2);
}

class CompareHidden : public ::testing::TestWithParam<int> {};

// Whatever the slices, the scores are those of the whole logits.
TEST_P(CompareHidden, IsCompareLogitsOfEveryPosition) {
  const TinyModel tiny("tiny-llama.gguf");
  const std::vector<int32_t> tokens = random_texts(1, 31, tiny.model.shape.vocabulary, 3)[0].tokens;
  const auto fed = std::span<const int32_t>(tokens).first(30);
  std::vector<std::vector<float>> states, logits;
  for (const char* scheme : {"k16v16", "k2v2g32"}) {
    Session session(tiny.model, {parse_scheme(scheme), 64, 64, 64});
    states.push_back(session.hidden(fed));
    session.logits_of(states.back(),
                      [&](int64_t, std::span<const float> row) { logits.emplace_back(row.begin(), row.end()); });
  }
  Session head(tiny.model, {KvScheme(), 64, GetParam(), 16});
  const auto scores = compare_hidden(head, states[0], head, states[1], tokens, 0);
  ASSERT_EQ(scores.size(), 30u);
  for (size_t i = 0; i < scores.size(); ++i) {
    const TokenScore wanted = compare_logits(logits[i], logits[30 + i], tokens[i + 1]);
    EXPECT_NEAR(scores[i].divergence, wanted.divergence, 1e-5) << i;
    EXPECT_NEAR(scores[i].loss, wanted.loss, 1e-5) << i;
    EXPECT_GT(scores[i].divergence, 0) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Chunks, CompareHidden, ::testing::Values(4, 16, 64));

TEST(CompareHiddenErrors, NotFiniteIsAnError) {
  const TinyModel tiny("tiny-llama.gguf");
  Session head(tiny.model, {KvScheme(), 64, 64, 16});
  const std::vector<float> good(static_cast<size_t>(2 * tiny.model.shape.hidden), 1.0f);
  std::vector<float> broken = good;
  broken.back() = std::numeric_limits<float>::quiet_NaN();
  const std::vector<int32_t> tokens = {1, 2, 3};
  try {
    compare_hidden(head, good, head, broken, tokens, 0);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("not finite at position 1"));
  }
}

}  // namespace
}  // namespace kvpareto
