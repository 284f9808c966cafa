#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "eval/task.h"
#include "eval/tasks/aggregation.h"
#include "eval/tasks/gsm8k.h"
#include "eval/tasks/key_value.h"
#include "eval/tasks/longbench.h"
#include "eval/tasks/mmlu.h"
#include "eval/tasks/needle.h"
#include "eval/tasks/ruler_qa.h"
#include "eval/tasks/wikitext.h"

namespace kvpareto {

std::span<const Task> tasks() {
  static const std::vector<Task> list = {
      {"needle", make_needle, mark_all},
      {"needle_multikey", make_needle_multikey, mark_all},
      {"niah_single_1", make_niah_single_1, mark_all},
      {"niah_single_3", make_niah_single_3, mark_all},
      {"niah_multikey_2", make_niah_multikey_2, mark_all},
      {"niah_multikey_3", make_niah_multikey_3, mark_all},
      {"niah_multivalue", make_niah_multivalue, mark_all},
      {"niah_multiquery", make_niah_multiquery, mark_all},
      {"variable_tracking", make_variable_tracking, mark_all},
      {"common_words", make_common_words, mark_all},
      {"frequent_words", make_frequent_words, mark_all},
      {"ruler_qa", make_ruler_qa, mark_any},
      {"key_value", make_key_value, mark_all},
      {"hotpotqa", make_hotpotqa, mark_f1},
      {"hotpotqa_10p", make_hotpotqa_10p, mark_f1},
      {"hotpotqa_4k", make_hotpotqa_4k, mark_f1},
      {"hotpotqa_9k", make_hotpotqa_9k, mark_f1},
      {"qasper", make_qasper, mark_f1},
      {"qasper_freeform", make_qasper_freeform, mark_f1},
      {"2wikimqa", make_2wikimqa, mark_f1},
      {"musique", make_musique, mark_f1},
      {"multifieldqa", make_multifieldqa, mark_f1},
      {"narrativeqa", make_narrativeqa, mark_f1},
      {"triviaqa", make_triviaqa, mark_f1_of_line},
      {"passage_retrieval", make_passage_retrieval, mark_paragraph},
      {"gsm8k", make_gsm8k, mark_gsm8k},
      {"mmlu", make_mmlu, mark_choice},
      {"wikitext2", make_wikitext2, nullptr},
  };
  return list;
}

const Task& find_task(std::string_view name) {
  const auto list = tasks();
  const auto found = std::find_if(list.begin(), list.end(), [&](const Task& t) { return t.name == name; });
  if (found != list.end()) return *found;
  std::vector<std::string> names;
  for (const Task& task : list) names.push_back(task.name);
  fail_usage("there is no task '{}'; did you mean '{}'? ('kvpareto eval --help' lists them)", name,
             nearest(name, names));
}

}  // namespace kvpareto
