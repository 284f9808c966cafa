#include "eval/tasks/gsm8k.h"

#include "eval/data.h"

namespace kvpareto {
namespace {

constexpr size_t kExamples = 5;
constexpr int kAnswerTokens = 256;
constexpr std::string_view kMark = "#### ";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_number_part(char c) { return is_digit(c) || c == '.' || c == ','; }

// -?[0-9.,]+ at the beginning.
std::string_view number_at(std::string_view text) {
  const size_t sign = text.starts_with('-') ? 1 : 0;
  size_t end = sign;
  while (end < text.size() && is_number_part(text[end])) ++end;
  return text.substr(0, end == sign ? 0 : end);
}

std::string_view strict_number(std::string_view text) {
  for (size_t at = text.find(kMark); at != std::string_view::npos; at = text.find(kMark, at + 1)) {
    const std::string_view number = number_at(text.substr(at + kMark.size()));
    if (!number.empty()) return number;
  }
  return {};
}

// The last match of (-?[$0-9.,]{2,})|(-?[0-9]+), looked for from the left as a regular expression is.
std::string_view last_number(std::string_view text) {
  std::string_view found;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    size_t end = i + (text[i] == '-' ? 1 : 0);
    const size_t first = end;
    while (end < text.size() && (is_number_part(text[end]) || text[end] == '$')) ++end;
    const bool matches = end - first >= 2 || (end - first == 1 && is_digit(text[first]));
    if (matches) found = text.substr(begin, end - begin);
    i = matches ? end : begin + 1;
  }
  return found;
}

std::string plain(std::string_view number) {
  std::string text;
  for (const char c : number) {
    if (c != ',' && c != '$') text += c;
  }
  if (text.ends_with('.')) text.pop_back();
  return text;
}

std::string question(const DataRecord& record) { return "Question: " + record.question + "\nAnswer:"; }

}  // namespace

std::vector<Sample> make_gsm8k(const TaskSetting& setting) {
  const std::vector<DataRecord> examples = read_records(data_path(setting.data, "gsm8k/train_first100.jsonl"));
  std::string shown;
  for (size_t i = 0; i < std::min(kExamples, examples.size()); ++i) {
    shown += question(examples[i]) + " " + examples[i].answer + "\n\n";
  }
  const std::vector<DataRecord> records = read_records(data_path(setting.data, "gsm8k/test.jsonl"));
  std::vector<std::string> keys;
  for (const DataRecord& record : records) keys.push_back(record.question);
  std::vector<Sample> samples;
  for (const size_t i : choose_samples(keys, setting.split, setting.seed, setting.samples)) {
    Sample sample;
    sample.key = keys[i];
    sample.request = Generate{kAnswerTokens, {"Question:", "</s>", "<|im_end|>"}};
    sample.prompt = shown + question(records[i]);
    sample.shared = shown.size();
    sample.chat = false;
    sample.gold = " " + records[i].answer;
    samples.push_back(std::move(sample));
  }
  return samples;
}

std::vector<double> mark_gsm8k(const Sample& sample, std::string_view answer) {
  const std::string right = plain(strict_number(sample.gold));
  const auto mark = [&](std::string_view number) { return !number.empty() && plain(number) == right ? 1.0 : 0.0; };
  return {mark(last_number(answer)), mark(strict_number(answer))};
}

}  // namespace kvpareto
