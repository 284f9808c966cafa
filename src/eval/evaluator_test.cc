#include "eval/evaluator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/testing.h"
#include "eval/testing.h"

namespace kvpareto {
namespace {

using ::testing::HasSubstr;

const TinyModel& tiny() {
  static const TinyModel model("tiny-llama-hd64.gguf");
  return model;
}

EvalOptions short_options() {
  EvalOptions options;
  options.prefill = 100;
  options.scored = 70;
  options.step = 32;
  return options;
}

std::vector<Text> two_texts(int tokens = 171) { return random_texts(2, tokens, tiny().model.shape.vocabulary, 1); }

Evaluator make_evaluator(const EvalOptions& options = short_options(), std::vector<Text> texts = two_texts()) {
  return {tiny().models, tiny().tokenizer, std::move(texts), options};
}

TEST(Evaluator, TheBaselineAgainstItselfIsExactlyNothing) {
  Evaluator evaluator = make_evaluator();
  for (int run = 0; run < 2; ++run) {  // the first makes the reference, the second is measured against it
    const Measurement found = evaluator.measure({});
    ASSERT_EQ(found.state, State::kDone) << found.reason;
    EXPECT_EQ(found.value("kld_mean"), 0);
    EXPECT_EQ(found.value("kld_p999"), 0);
    EXPECT_EQ(found.value("delta_nll"), 0);
    EXPECT_EQ(found.value("same_top"), 1);
    EXPECT_GT(found.value("ppl"), 1);
  }
}

// As if another program run had kept it: what is found is the same, bit for bit.
TEST(Evaluator, AKeptReferenceIsAsGoodAsAFreshOne) {
  const TemporaryFolder folder;
  EvalOptions options = short_options();
  const Point point{"w16", "k4v4g32", 64};
  const Measurement fresh = make_evaluator(options).measure(point);
  options.reference_folder = folder.path();
  for (int run = 0; run < 2; ++run) {
    const Measurement found = make_evaluator(options).measure(point);
    ASSERT_EQ(found.state, State::kDone) << found.reason;
    EXPECT_EQ(found.texts.at("kld_mean"), fresh.texts.at("kld_mean"));
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2) << "a file a text";
  }
  EXPECT_EQ(make_evaluator(options).measure({}).value("kld_mean"), 0);
  options.step = 7;
  make_evaluator(options).measure(point);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 4) << "fed otherwise, another file";
}

// A text that a point was measured on is not fed again, and nothing but the times tells.
TEST(Evaluator, SharedResultsPayForFurtherTextsAlone) {
  const Point point{"w16", "k4v4g32", 64};
  const Measurement alone = make_evaluator().measure(point);
  EvalOptions options = short_options();
  options.shared = std::make_shared<TextResults>();
  const std::vector<Text> both = two_texts();
  const Measurement one = make_evaluator(options, {both.front()}).measure(point);
  const Measurement two = make_evaluator(options, both).measure(point);
  for (const char* figure : {"kld_mean", "delta_nll", "ppl", "kld_p999"}) {
    EXPECT_EQ(two.texts.at(figure), alone.texts.at(figure)) << figure;
  }
  EXPECT_EQ(two.values.at("kld_mean"), alone.values.at("kld_mean"));
  EXPECT_EQ(two.texts.at("avg_seconds").front(), one.texts.at("avg_seconds").front()) << "fed again";
  options.step = 7;
  EXPECT_NE(make_evaluator(options, both).measure(point).texts.at("avg_seconds").front(),
            one.texts.at("avg_seconds").front())
      << "fed otherwise";
}

TEST(Evaluator, WithoutDecodedTokensThereIsNoSpeedOfDecoding) {
  EvalOptions options = short_options();
  options.decoded = 0;
  const Point point{"w16", "k4v4g32", 64};
  const Measurement found = make_evaluator(options).measure(point);
  EXPECT_EQ(found.values.count("decode_ts"), 0u);
  EXPECT_EQ(found.texts.at("kld_mean"), make_evaluator().measure(point).texts.at("kld_mean"));
}

TEST(Evaluator, FewerBitsDivergeMore) {
  Evaluator evaluator = make_evaluator();
  double before = 0, bytes = 1e18;
  for (const char* kv : {"k8v8g32", "k4v4g32", "k2v2g32"}) {
    const Measurement found = evaluator.measure({"w16", kv, 64});
    ASSERT_EQ(found.state, State::kDone) << found.reason;
    EXPECT_GT(found.value("kld_mean"), before) << kv;
    EXPECT_LT(found.value("peak_bytes"), bytes) << kv;
    EXPECT_EQ(found.texts.at("kld_mean").size(), 2u);
    before = found.value("kld_mean");
    bytes = found.value("peak_bytes");
  }
  EXPECT_GT(before, 0.01);
}

// The reference is the 16-bit model whatever the point's weights, and whatever was measured before.
TEST(Evaluator, WeightsAreHeldAgainstTheSixteenBitModel) {
  Evaluator evaluator = make_evaluator();
  const auto divergence = [&](const char* weights, const char* kv = "k16v16") {
    const Measurement found = evaluator.measure({weights, kv, 256});
    EXPECT_EQ(found.state, State::kDone) << found.reason;
    EXPECT_EQ(found.value("peak_bytes"), found.value("predicted_peak_bytes")) << weights;
    return found.value("kld_mean");
  };
  const double four = divergence("w4g32e8"), eight = divergence("w8g32e8"), both = divergence("w8g32e8", "k4v4");
  EXPECT_EQ(divergence("w16"), 0);
  EXPECT_GT(eight, 0);
  EXPECT_LT(eight * 5, four);
  EXPECT_GT(both, eight);
  EXPECT_EQ(divergence("w4g32e8"), four) << "another model in between changes nothing";
  EXPECT_GT(divergence("w16e4"), 0);
}

// A model is held against another as against itself; the other is given up after it has made the reference.
TEST(Evaluator, AnotherModelMayBeTheReference) {
  ModelShelf same(*tiny().checkpoint, *tiny().backend);
  EvalOptions options = short_options();
  options.reference = &same;
  const Point point{"w16", "k4v4g32", 64};
  const Measurement own = make_evaluator().measure(point), found = make_evaluator(options).measure(point);
  EXPECT_EQ(found.texts.at("kld_mean"), own.texts.at("kld_mean"));
  EXPECT_NE(found.regime, own.regime);

  const TinyModel another("tiny-llama.gguf");
  options.reference = &another.models;
  Evaluator evaluator = make_evaluator(options);
  const Measurement base = evaluator.measure({});
  ASSERT_EQ(base.state, State::kDone) << base.reason;
  EXPECT_GT(base.value("kld_mean"), 0.01) << "another model's 16 bits are not this one's";
  EXPECT_EQ(evaluator.measure({}).texts.at("kld_mean"), base.texts.at("kld_mean"));
}

TEST(Evaluator, AReferenceOfAnotherVocabularyIsRefused) {
  const auto checkpoint = open_checkpoint(KVPARETO_TESTDATA "/folders/tiny-mistral-v01");
  ModelShelf other(*checkpoint, *tiny().backend);
  EvalOptions options = short_options();
  options.reference = &other;
  EXPECT_THAT([&] { make_evaluator(options); },
              testing::ThrowsMessage<Error>(HasSubstr("wanted a reference with a vocabulary of")));
}

TEST(Evaluator, ValuesOfEitherSideAreReadThroughTheCache) {
  Evaluator evaluator = make_evaluator();
  const double keys = evaluator.measure({"w16", "k2v16", 256}).value("kld_mean");
  const double values = evaluator.measure({"w16", "k16v2", 256}).value("kld_mean");
  EXPECT_GT(keys, 1e-4);
  EXPECT_GT(values, 1e-4);
  EXPECT_NE(keys, values);
}

// Pack, then attend: what a position sees does not depend on how the text was cut.
TEST(Evaluator, ChunkAndStepHardlyMoveTheDivergence) {
  EvalOptions options = short_options();
  Evaluator evaluator = make_evaluator(options);
  options.step = 7;
  Evaluator other = make_evaluator(options);
  const Estimate whole = evaluator.measure({"w16", "k3v3g32", 256}).values.at("kld_mean");
  for (const int chunk : {5, 16, 64}) {
    EXPECT_NEAR(evaluator.measure({"w16", "k3v3g32", chunk}).value("kld_mean"), whole.value, 0.1 * whole.value)
        << chunk;
  }
  EXPECT_NEAR(other.measure({"w16", "k3v3g32", 256}).value("kld_mean"), whole.value, 0.1 * whole.value);
}

TEST(Evaluator, MemoryIsTheSumOfItsPartsAndAsPredicted) {
  const Measurement found = make_evaluator().measure({"w16", "k4v2g32", 64});
  ASSERT_EQ(found.state, State::kDone) << found.reason;
  const auto part = [&](const char* name) { return found.value(name); };
  EXPECT_EQ(part("peak_bytes"),
            part("weights_bytes") + part("kv_bytes") + part("scratch_bytes") + part("logits_bytes"));
  EXPECT_EQ(part("peak_bytes"), part("predicted_peak_bytes"));
  EXPECT_GT(part("process_peak_bytes"), part("weights_bytes"));
  EXPECT_DOUBLE_EQ(part("effective_bits"), 4.0);  // (4 + 2) / 2 and 32 bits of scale and minimum in 32 values
  for (const char* name : {"prefill_ts", "decode_ts", "avg_seconds"}) EXPECT_GT(part(name), 0) << name;
  for (const auto& [name, value] : found.values) EXPECT_NE(find_figure(name), nullptr) << name;
}

TEST(Evaluator, TheRegimeTellsWhatWasMeasured) {
  const Regime found = make_evaluator().regime();
  EXPECT_EQ(found, make_evaluator().regime());
  EXPECT_EQ(found.context, 170);
  EXPECT_EQ(found.model, "tiny-llama-hd64.gguf");
  EXPECT_EQ(found.texts, 2);
  EXPECT_EQ(found.text_origin, "random");
  EXPECT_EQ(found.model_hash.size(), 16u);
  auto changed = two_texts();
  changed[1].tokens[5] ^= 1;
  EXPECT_NE(found.text_hash, make_evaluator(short_options(), changed).regime().text_hash);
  EXPECT_EQ(make_evaluator().measure({}).regime, found);
}

TEST(Evaluator, AllThatFollowsThePrefillIsScored) {
  EvalOptions options = short_options();
  options.scored = 0;
  auto texts = two_texts();
  texts[1].tokens.resize(130);
  Evaluator evaluator = make_evaluator(options, texts);
  EXPECT_EQ(evaluator.regime().scored, 71);
  const Measurement found = evaluator.measure({"w16", "k4v4g32", 64});
  ASSERT_EQ(found.state, State::kDone) << found.reason;
  EXPECT_EQ(found.texts.at("kld_mean").size(), 2u);
}

TEST(Evaluator, WithoutPrefillThereIsNoPrefillRate) {
  EvalOptions options = short_options();
  options.prefill = 0;
  const Measurement found = make_evaluator(options).measure({"w16", "k4v4g32", 64});
  ASSERT_EQ(found.state, State::kDone) << found.reason;
  EXPECT_EQ(found.values.count("prefill_ts"), 0u);
}

TEST(Evaluator, AFailureIsAStateWithItsReason) {
  Evaluator evaluator = make_evaluator();
  const std::pair<Point, std::string> cases[] = {
      {{"w5g128", "k8v8", 256}, "w5g128"}, {{"w4,9:w8", "k8v8", 256}, "layer 9 is beyond"},
      {{"w16", "k5v8", 256}, "5"},         {{"w16", "k8v8g128", 256}, "128"},
      {{"w16", "k8v8", 0}, "chunk 0"},
  };
  for (const auto& [point, reason] : cases) {
    const Measurement found = evaluator.measure(point);
    EXPECT_EQ(found.state, State::kFailed);
    EXPECT_THAT(found.reason, HasSubstr(reason));
    EXPECT_EQ(found.reason.find('\n'), std::string::npos);
    EXPECT_EQ(found.values.count("kld_mean"), 0u);
    EXPECT_EQ(found.point, point);
  }
  EXPECT_EQ(evaluator.measure({}).state, State::kDone) << "a failure must not spoil what follows";
}

TEST(Evaluator, AnInterruptIsThrown) {
  Evaluator evaluator = make_evaluator();
  const auto error = error_of(
      [&] { evaluator.measure({}, [](double, const std::string&) { throw Error(Exit::kInterrupted, "stop"); }); });
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->exit(), Exit::kInterrupted);
  EXPECT_EQ(evaluator.measure({}).state, State::kDone);
}

TEST(Evaluator, ProgressGrowsToTheEnd) {
  Evaluator evaluator = make_evaluator();
  double last = 0;
  const Evaluator::Watcher watch = [&](double part, const std::string& note) {
    EXPECT_GE(part, last);
    EXPECT_THAT(note, HasSubstr("text "));
    last = part;
  };
  evaluator.measure({"w16", "k4v4g32", 64}, watch);
  EXPECT_GT(last, 0.99);
  EXPECT_LE(last, 1);
}

TEST(Evaluator, BadOptionsAreOneClearLine) {
  const auto message = [](auto change, std::vector<Text> texts) {
    EvalOptions options = short_options();
    change(options);
    return message_of([&] { make_evaluator(options, texts); });
  };
  const auto keep = [](EvalOptions&) {};
  EXPECT_THAT(message(keep, {}), HasSubstr("wanted a text to measure on or a context"));
  EXPECT_THAT(message(keep, two_texts(169)), HasSubstr("at least 170 tokens (prefill 100 + scored 70), found 169"));
  EXPECT_THAT(message([](EvalOptions& o) { o.context = 169; }, two_texts()), HasSubstr("at least 170"));
  EXPECT_THAT(message([](EvalOptions& o) { o.context = 513; }, two_texts()), HasSubstr("at most 512"));
  EXPECT_THAT(message([](EvalOptions& o) { o.step = 0; }, two_texts()), HasSubstr("steps"));
  EXPECT_THAT(message([](EvalOptions& o) { o.prefill = -1; }, two_texts()), HasSubstr("-1"));
  const auto needles = [](int length, const std::string& chat_template) {
    return [=](EvalOptions& o) {
      o.tasks.tasks = {"needle"};
      o.tasks.lengths = {length};
      o.tasks.chat_template = chat_template;
    };
  };
  EXPECT_THAT(message(needles(600, ""), two_texts()), HasSubstr("600"));
  EXPECT_THAT(message(needles(40, ""), two_texts()), HasSubstr("40"));
  EXPECT_THAT(message(needles(400, "{% include odd %}"), two_texts()), HasSubstr("chat template"));
  auto texts = two_texts();
  texts[1].tokens[3] = 100000;
  EXPECT_THAT(message(keep, texts), HasSubstr("found 100000 in text 1"));
}

TEST(Evaluator, TasksAreAddedToAMeasurement) {
  EvalOptions options = short_options();
  options.tasks.tasks = {"needle", "mmlu"};
  options.tasks.limit = 2;
  options.tasks.lengths = {500};
  options.tasks.data = KVPARETO_TESTDATA "/tasks";
  options.tasks.chat_template = tiny().checkpoint->vocabulary().chat_template;
  Evaluator evaluator = make_evaluator(options);
  std::vector<double> losses;
  for (const char* kv : {"k16v16", "k2v2g32"}) {
    Measurement found = evaluator.measure({"w16", kv, 64});
    EXPECT_EQ(found.values.count("needle"), 0u);
    const TaskResults results = evaluator.measure_tasks(found);
    ASSERT_EQ(found.state, State::kDone) << found.reason;
    ASSERT_EQ(results.size(), 2u);
    for (const char* name : {"needle", "needle_nll", "mmlu", "mmlu_nll"}) {
      EXPECT_EQ(found.texts.at(name).size(), 2u) << name;
      EXPECT_TRUE(std::isfinite(found.value(name))) << name;
    }
    EXPECT_EQ(found.samples.at("mmlu").size(), 2u);
    losses.push_back(found.value("needle_nll"));
  }
  EXPECT_NE(losses[0], losses[1]);
}

TEST(Evaluator, WithoutTextsThereAreMemoryAndTasksAlone) {
  EvalOptions options = short_options();
  options.context = 200;
  options.tasks.tasks = {"mmlu"};
  options.tasks.limit = 3;
  options.tasks.data = KVPARETO_TESTDATA "/tasks";
  Evaluator evaluator = make_evaluator(options, {});
  Measurement found = evaluator.measure({"w16", "k4v4g32", 64});
  ASSERT_EQ(found.state, State::kDone) << found.reason;
  EXPECT_EQ(found.values.count("kld_mean"), 0u);
  EXPECT_GT(found.value("kv_bytes"), 0);
  evaluator.measure_tasks(found);
  EXPECT_EQ(found.values.at("mmlu").samples, 3);
  EXPECT_EQ(found.regime.texts, 0);
}

}  // namespace
}  // namespace kvpareto
