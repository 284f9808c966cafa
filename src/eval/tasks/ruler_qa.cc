#include "eval/tasks/ruler_qa.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/hash.h"
#include "base/random.h"
#include "eval/data.h"
#include "eval/tasks/synthetic.h"

namespace kvpareto {
namespace {

constexpr int kAnswerTokens = 32;
constexpr std::string_view kTask =
    "Answer the question based on the given documents. Only give me the answer and do not output any other words.";

// "Passage 3:\nTitle\nText" one after another: titles with texts.
std::vector<std::string> passages_of(const std::string& context) {
  std::vector<std::string> passages;
  constexpr std::string_view kMark = "Passage ";
  size_t begin = context.starts_with(kMark) ? 0 : context.find("\nPassage ");
  while (begin != std::string::npos && begin < context.size()) {
    const size_t text = context.find('\n', begin + 1);
    size_t end = context.find("\nPassage ", begin + 1);
    if (text == std::string::npos || text == end) break;
    std::string passage = context.substr(text + 1, end == std::string::npos ? end : end - text - 1);
    while (passage.ends_with('\n')) passage.pop_back();
    passages.push_back(std::move(passage));
    begin = end;
  }
  return passages;
}

bool holds_answer(const std::string& passage, const std::vector<std::string>& answers) {
  return std::any_of(answers.begin(), answers.end(),
                     [&](const std::string& answer) { return passage.find(answer) != std::string::npos; });
}

// The passages of other questions that neither answer this one nor belong to it, shuffled.
std::vector<std::string> distractors(const std::vector<std::vector<std::string>>& all, size_t own,
                                     const std::vector<std::string>& answers, Random& random) {
  std::vector<std::string> others;
  for (size_t i = 0; i < all.size(); ++i) {
    for (const std::string& passage : all[i]) {
      const bool belongs = std::find(all[own].begin(), all[own].end(), passage) != all[own].end();
      if (i != own && !belongs && !holds_answer(passage, answers)) others.push_back(passage);
    }
  }
  for (size_t i = others.size(); i > 1; --i) std::swap(others[i - 1], others[random.below(i)]);
  return others;
}

Sample ask(const DataRecord& record, const std::vector<std::string>& passages) {
  Sample sample;
  sample.request = Generate{kAnswerTokens};
  sample.prompt = fmt::format("{}\n\nThe following are given documents.\n\n", kTask);
  for (size_t i = 0; i < passages.size(); ++i) {
    sample.prompt += fmt::format("Document {}:\n{}\n\n", i + 1, passages[i]);
  }
  sample.prompt += fmt::format("{}\n\nQuestion: {}", kTask, record.input);
  sample.answer_prefix = "Answer:";
  sample.gold = " " + record.answers.front();
  sample.references = record.answers;
  return sample;
}

}  // namespace

std::vector<Sample> make_ruler_qa(const TaskSetting& setting) {
  std::vector<DataRecord> records = read_records(data_path(setting.data, "hotpotqa/hotpotqa_10p.jsonl"));
  std::erase_if(records, [](const DataRecord& r) { return r.answers.empty() || r.answers.front().empty(); });
  std::vector<std::string> keys;
  std::vector<std::vector<std::string>> passages;
  for (const DataRecord& record : records) {
    keys.push_back(record.input);
    passages.push_back(passages_of(record.context));
  }
  std::vector<Sample> samples;
  for (const size_t i : choose_samples(keys, setting.split, setting.seed, setting.samples)) {
    const int length = setting.lengths[samples.size() % setting.lengths.size()];
    Random random(hash_text(keys[i], setting.seed));
    const auto others = distractors(passages, i, records[i].answers, random);
    const Random order = random;
    const auto with = [&](int64_t count) {
      std::vector<std::string> shown = passages[i];
      shown.insert(shown.end(), others.begin(), others.begin() + static_cast<std::ptrdiff_t>(count));
      Random placing = order;
      for (size_t k = shown.size(); k > 1; --k) std::swap(shown[k - 1], shown[placing.below(k)]);
      Sample sample = ask(records[i], shown);
      sample.may_shorten = true;  // ten passages may be longer than what is asked for
      return sample;
    };
    const int64_t room = length - kAnswerTokens;
    Sample sample = setting.count_tokens(with(0)) > room
                        ? with(0)
                        : fill_length(setting, length, static_cast<int64_t>(others.size()), with);
    sample.key = keys[i];
    if (setting.lengths.size() > 1) sample.part = fmt::format("{} tokens", length);
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace kvpareto
