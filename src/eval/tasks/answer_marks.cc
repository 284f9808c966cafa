#include "eval/tasks/answer_marks.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "base/text.h"

namespace kvpareto {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

bool is_punctuation(char c) { return static_cast<unsigned char>(c) < 0x80 && std::ispunct(c) != 0; }
bool is_space(char c) { return static_cast<unsigned char>(c) < 0x80 && std::isspace(c) != 0; }

double best(const Sample& sample, double (*mark)(std::string_view, std::string_view), std::string_view answer) {
  double most = 0;
  for (const std::string& reference : references_of(sample)) most = std::max(most, mark(answer, reference));
  return most;
}

size_t count_found(const Sample& sample, std::string_view answer) {
  const std::string said = lower(answer);
  const std::vector<std::string> wanted = references_of(sample);
  return static_cast<size_t>(std::count_if(wanted.begin(), wanted.end(), [&](const std::string& reference) {
    return said.find(lower(reference)) != std::string::npos;
  }));
}

}  // namespace

std::vector<std::string> answer_words(std::string_view text) {
  std::vector<std::string> words = {""};
  for (const char c : lower(text)) {
    if (is_space(c)) {
      words.emplace_back();
    } else if (!is_punctuation(c)) {
      words.back() += c;
    }
  }
  std::erase_if(words, [](const std::string& w) { return w.empty() || w == "a" || w == "an" || w == "the"; });
  return words;
}

double token_f1(std::string_view answer, std::string_view reference) {
  const std::vector<std::string> said = answer_words(answer), wanted = answer_words(reference);
  std::map<std::string, int> left;
  for (const std::string& word : wanted) ++left[word];
  int common = 0;
  for (const std::string& word : said) common += left[word]-- > 0;
  // 2 P R / (P + R) with P = common / said and R = common / wanted.
  return common == 0 ? 0 : 2.0 * common / static_cast<double>(said.size() + wanted.size());
}

std::vector<std::string> references_of(const Sample& sample) {
  if (!sample.references.empty()) return sample.references;
  const size_t first = sample.gold.find_first_not_of(" \n"), last = sample.gold.find_last_not_of(" \n");
  return {first == std::string::npos ? "" : sample.gold.substr(first, last - first + 1)};
}

std::vector<double> mark_f1(const Sample& sample, std::string_view answer) { return {best(sample, token_f1, answer)}; }

std::vector<double> mark_f1_of_line(const Sample& sample, std::string_view answer) {
  answer.remove_prefix(std::min(answer.find_first_not_of('\n'), answer.size()));
  return mark_f1(sample, answer.substr(0, answer.find('\n')));
}

std::vector<double> mark_choice(const Sample& sample, std::string_view answer) {
  return {answer == sample.gold ? 1.0 : 0.0};
}

std::vector<double> mark_all(const Sample& sample, std::string_view answer) {
  return {static_cast<double>(count_found(sample, answer)) / static_cast<double>(references_of(sample).size())};
}

std::vector<double> mark_any(const Sample& sample, std::string_view answer) {
  return {count_found(sample, answer) > 0 ? 1.0 : 0.0};
}

}  // namespace kvpareto
