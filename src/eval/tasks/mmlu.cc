#include "eval/tasks/mmlu.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "eval/data.h"

namespace kvpareto {
namespace {
namespace fs = std::filesystem;

constexpr size_t kExamples = 5, kColumns = 6;
constexpr std::string_view kLetters = "ABCD", kTestEnding = "_test.csv";

using Row = std::vector<std::string>;  // question, four choices, the right letter

std::string question(const Row& row) {
  const size_t first = std::min(row[0].find_first_not_of(" \n\t"), row[0].size());
  const size_t end = row[0].find_last_not_of(" \n\t") + 1;
  std::string text = row[0].substr(first, end - first);
  for (size_t i = 0; i < kLetters.size(); ++i) text += fmt::format("\n{}. {}", kLetters[i], row[1 + i]);
  return text + "\nAnswer:";
}

std::string in_words(std::string subject) {
  std::replace(subject.begin(), subject.end(), '_', ' ');
  return subject;
}

std::string examples_of(const std::string& subject, const std::string& data) {
  std::string shown =
      fmt::format("The following are multiple choice questions (with answers) about {}.\n\n", in_words(subject));
  const auto rows = read_csv(data_path(data, fmt::format("mmlu/hendrycks_format/dev/{}_dev.csv", subject)), kColumns);
  for (size_t i = 0; i < std::min(kExamples, rows.size()); ++i) shown += question(rows[i]) + " " + rows[i][5] + "\n\n";
  return shown;
}

std::vector<std::string> subjects_in(const std::string& folder) {
  std::vector<std::string> subjects;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(kTestEnding)) subjects.push_back(name.substr(0, name.size() - kTestEnding.size()));
  }
  std::sort(subjects.begin(), subjects.end());
  return subjects;
}

}  // namespace

std::vector<Sample> make_mmlu(const TaskSetting& setting) {
  struct Question {
    std::string subject;
    Row row;
  };
  std::vector<Question> questions;
  std::vector<std::string> keys;
  const std::string folder = data_path(setting.data, "mmlu/hendrycks_format/test");
  for (const std::string& subject : subjects_in(folder)) {
    for (Row& row : read_csv(fmt::format("{}/{}{}", folder, subject, kTestEnding), kColumns)) {
      if (row[5].size() != 1 || kLetters.find(row[5]) == std::string_view::npos) {
        fail("{}/{}{}: wanted a right answer of A, B, C or D, found '{}'", folder, subject, kTestEnding, row[5]);
      }
      keys.push_back(row[0] + row[1] + row[2] + row[3] + row[4]);
      questions.push_back({subject, std::move(row)});
    }
  }
  std::map<std::string, std::string> examples;
  std::vector<Sample> samples;
  for (const size_t i : choose_samples(keys, setting.split, setting.seed, setting.samples)) {
    const auto& [subject, row] = questions[i];
    if (!examples.contains(subject)) examples[subject] = examples_of(subject, setting.data);
    Sample sample;
    sample.key = keys[i];
    sample.request = Choose{{" A", " B", " C", " D"}};
    sample.prompt = examples[subject] + question(row);
    sample.shared = examples[subject].size();
    sample.chat = false;
    sample.gold = " " + row[5];
    sample.part = subject;
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace kvpareto
