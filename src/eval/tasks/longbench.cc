#include "eval/tasks/longbench.h"

#include <algorithm>

#include "eval/data.h"

namespace kvpareto {
namespace {

// A prompt as LongBench's configuration has it, parted where context and question are filled in.
struct Form {
  const char* file;
  const char* before;   // the context
  const char* between;  // context and question
  const char* after;    // the question
  int max_tokens;
  bool chat = true;
};

constexpr const char* kPassages =
    "Answer the question based on the given passages. Only give me the answer and do not output any other "
    "words.\n\nThe following are given passages.\n";
constexpr const char* kPassagesQuestion =
    "\n\nAnswer the question based on the given passages. Only give me the answer and do not output any other "
    "words.\n\nQuestion: ";
constexpr const char* kArticle =
    "You are given a scientific article and a question. Answer the question as concisely as you can, using a single "
    "phrase or sentence if possible. If the question cannot be answered based on the information in the article, write "
    "\"unanswerable\". If the question is a yes/no question, answer \"yes\", \"no\", or \"unanswerable\". Do not "
    "provide any explanation.\n\nArticle: ";
constexpr const char* kArticleQuestion =
    "\n\n Answer the question based on the above article as concisely as you can, using a single phrase or sentence if "
    "possible. If the question cannot be answered based on the information in the article, write \"unanswerable\". If "
    "the question is a yes/no question, answer \"yes\", \"no\", or \"unanswerable\". Do not provide any "
    "explanation.\n\nQuestion: ";

constexpr const char* kStory =
    "You are given a story, which can be either a novel or a movie script, and a question. Answer the question "
    "asconcisely "
    "as you can, using a single phrase if possible. Do not provide any explanation.\n\nStory: ";
constexpr const char* kStoryQuestion =
    "\n\nNow, answer the question based on the story asconcisely as you can, using a single phrase if possible. Do not "
    "provide any explanation.\n\nQuestion: ";

std::vector<std::string> numbers_in(std::string_view text) {
  std::vector<std::string> numbers;
  bool inside = false;
  for (const char c : text) {
    const bool digit = c >= '0' && c <= '9';
    if (digit && !inside) numbers.emplace_back();
    if (digit) numbers.back() += c;
    inside = digit;
  }
  return numbers;
}

Sample make_sample(const Form& form, const DataRecord& record) {
  Sample sample;
  sample.key = record.input;
  sample.request = Generate{form.max_tokens};
  sample.prompt = form.before + record.context;
  sample.shared = sample.prompt.size();
  sample.prompt += form.between + record.input + form.after;
  sample.chat = form.chat;
  sample.may_shorten = true;
  sample.references = record.answers;
  sample.gold = (form.chat ? "" : " ") + record.answers.front();
  return sample;
}

std::vector<Sample> make_samples(const Form& form, const TaskSetting& setting) {
  std::vector<DataRecord> records = read_records(data_path(setting.data, form.file));
  std::erase_if(records, [](const DataRecord& r) { return r.answers.empty() || r.answers.front().empty(); });
  std::vector<std::string> keys;
  for (const DataRecord& record : records) keys.push_back(record.input);
  std::vector<Sample> samples;
  for (const size_t i : choose_samples(keys, setting.split, setting.seed, setting.samples)) {
    samples.push_back(make_sample(form, records[i]));
  }
  return samples;
}

}  // namespace

std::vector<Sample> make_hotpotqa(const TaskSetting& setting) {
  return make_samples({"longbench_mini/hotpotqa.jsonl", kPassages, kPassagesQuestion, "\nAnswer:", 32}, setting);
}

std::vector<Sample> make_qasper(const TaskSetting& setting) {
  return make_samples({"longbench_mini/qasper.jsonl", kArticle, kArticleQuestion, "\n\nAnswer:", 128}, setting);
}

std::vector<Sample> make_2wikimqa(const TaskSetting& setting) {
  return make_samples({"longbench_mini/2wikimqa.jsonl", kPassages, kPassagesQuestion, "\nAnswer:", 32}, setting);
}

std::vector<Sample> make_musique(const TaskSetting& setting) {
  return make_samples({"longbench_mini/musique.jsonl", kPassages, kPassagesQuestion, "\nAnswer:", 32}, setting);
}

std::vector<Sample> make_multifieldqa(const TaskSetting& setting) {
  return make_samples({"longbench_mini/multifieldqa_en.jsonl", "Read the following text and answer briefly.\n\n",
                       "\n\nNow, answer the following question based on the above text, only give me the answer and do "
                       "not output any other words.\n\nQuestion: ",
                       "\nAnswer:", 64},
                      setting);
}

std::vector<Sample> make_narrativeqa(const TaskSetting& setting) {
  return make_samples({"longbench_mini/narrativeqa.jsonl", kStory, kStoryQuestion, "\n\nAnswer:", 128}, setting);
}

std::vector<Sample> make_triviaqa(const TaskSetting& setting) {
  return make_samples({"longbench_mini/triviaqa.jsonl",
                       "Answer the question based on the given passage. Only give me the answer and do not output any "
                       "other words. The following are some examples.\n\n",
                       "\n\n", "", 32, false},
                      setting);
}

std::vector<Sample> make_passage_retrieval(const TaskSetting& setting) {
  return make_samples(
      {"longbench_mini/passage_retrieval_en.jsonl",
       "Here are 30 paragraphs from Wikipedia, along with an abstract. Please determine which paragraph "
       "the abstract is from.\n\n",
       "\n\nThe following is an abstract.\n\n",
       "\n\nPlease enter the number of the paragraph that the abstract is from. The answer format must be "
       "like \"Paragraph 1\", \"Paragraph 2\", etc.\n\nThe answer is: ",
       32},
      setting);
}

std::vector<Sample> make_hotpotqa_10p(const TaskSetting& setting) {
  return make_samples({"hotpotqa/hotpotqa_10p.jsonl", kPassages, kPassagesQuestion, "\nAnswer:", 32}, setting);
}

std::vector<Sample> make_hotpotqa_4k(const TaskSetting& setting) {
  return make_samples({"hotpotqa/hotpotqa_padded_4kwords.jsonl", kPassages, kPassagesQuestion, "\nAnswer:", 32},
                      setting);
}

std::vector<Sample> make_hotpotqa_9k(const TaskSetting& setting) {
  return make_samples({"hotpotqa/hotpotqa_padded_9kwords.jsonl", kPassages, kPassagesQuestion, "\nAnswer:", 32},
                      setting);
}

std::vector<Sample> make_qasper_freeform(const TaskSetting& setting) {
  return make_samples({"qasper_freeform/qasper_freeform.jsonl", kArticle, kArticleQuestion, "\n\nAnswer:", 128},
                      setting);
}

std::vector<double> mark_paragraph(const Sample& sample, std::string_view answer) {
  const std::vector<std::string> said = numbers_in(answer), right = numbers_in(references_of(sample).front());
  if (said.empty() || right.empty()) return {0};
  const auto found = std::count(said.begin(), said.end(), right.front());
  return {static_cast<double>(found) / static_cast<double>(said.size())};
}

}  // namespace kvpareto
