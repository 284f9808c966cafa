#include "study/task_facts.h"

#include <algorithm>

namespace kvpareto {
namespace {

// Words that many answers have (yes, no, years, first names) bring a guess this far in token F1.
constexpr double kGuessedF1 = 0.05;

}  // namespace

std::span<const TaskFacts> task_facts() {
  static const std::vector<TaskFacts> list = {
      {"needle", "Needle", "Single facts retrieved from a long text."},
      {"needle_multikey", "Needle, many keys", "Facts retrieved among many of the same form."},
      {"niah_single_1", "Needle in noise", "Single facts retrieved from five sentences repeated (RULER)."},
      {"niah_single_3", "Needle, UUID", "Random UUIDs retrieved from a long text (RULER)."},
      {"niah_multikey_2", "Needle among needles", "Facts retrieved from nothing but facts of the same form (RULER)."},
      {"niah_multikey_3", "Needle among needles, UUID", "UUIDs found by UUIDs among others of the same form (RULER)."},
      {"niah_multivalue", "Needle, four values", "Share of four values of one key retrieved (RULER)."},
      {"niah_multiquery", "Needle, four queries", "Share of the values of four keys retrieved (RULER)."},
      {"variable_tracking", "Variable tracking", "Share of a chain of five assigned variables that is named (RULER)."},
      {"common_words", "Common words", "Share of the ten commonest words of a list that is named (RULER)."},
      {"frequent_words", "Frequent words", "Share of the three most frequent code words that is named (RULER)."},
      {"ruler_qa", "RULER QA", "Answers found to questions whose passages stand among others (RULER).", kGuessedF1},
      {"key_value", "Key-value retrieval", "Values retrieved by key from pairs of random UUIDs."},
      {"hotpotqa", "HotpotQA", "Token F1 of questions over several articles (LongBench).", kGuessedF1},
      {"hotpotqa_10p", "HotpotQA, 10 passages", "Token F1 of questions over ten passages.", kGuessedF1},
      {"hotpotqa_4k", "HotpotQA, 4k words", "Token F1 of questions whose passages stand among others.", kGuessedF1},
      {"hotpotqa_9k", "HotpotQA, 9k words", "Token F1 of the same questions among more passages.", kGuessedF1},
      {"qasper", "Qasper", "Token F1 of questions over a scientific paper (LongBench).", kGuessedF1},
      {"qasper_freeform", "Qasper, free form", "Token F1 of free-form questions over whole papers.", kGuessedF1},
      {"2wikimqa", "2WikiMQA", "Token F1 of questions over several articles (LongBench).", kGuessedF1},
      {"musique", "MuSiQue", "Token F1 of questions of several hops (LongBench).", kGuessedF1},
      {"multifieldqa", "MultiFieldQA", "Token F1 of questions over documents of many fields (LongBench).", kGuessedF1},
      {"narrativeqa", "NarrativeQA", "Token F1 of questions over a novel or a script (LongBench).", kGuessedF1},
      {"triviaqa", "TriviaQA", "Token F1 of trivia with passages and examples (LongBench).", kGuessedF1},
      {"passage_retrieval", "Passage retrieval", "Paragraphs of thirty found by their abstracts (LongBench).",
       1.0 / 30},
      {"gsm8k",
       "GSM8K",
       "Grade-school problems whose last number is right, 5-shot with worked solutions.",
       0,
       ScoreKind::kShare,
       {{"_strict", "GSM8K, strict", "The same answers, right only where the number follows '####'."}}},
      {"mmlu", "MMLU", "Questions of 57 subjects whose right choice is the likeliest, 5-shot.", 0.25},
      {"wikitext2", "WikiText-2 perplexity", "Exponential of the mean negative log-likelihood of an encyclopedia.", 0,
       ScoreKind::kPerplexity},
  };
  return list;
}

const TaskFacts* find_task_facts(std::string_view name) {
  const auto list = task_facts();
  const auto found = std::find_if(list.begin(), list.end(), [&](const TaskFacts& f) { return f.name == name; });
  return found == list.end() ? nullptr : &*found;
}

}  // namespace kvpareto
