#pragma once
// Question answering over long documents after LongBench (arXiv 2308.14508): its prompts, answer lengths, middle
// truncation and token F1.

#include <vector>

#include "eval/task.h"
#include "eval/tasks/answer_marks.h"

namespace kvpareto {

std::vector<Sample> make_hotpotqa(const TaskSetting& setting);
std::vector<Sample> make_qasper(const TaskSetting& setting);
std::vector<Sample> make_2wikimqa(const TaskSetting& setting);
std::vector<Sample> make_musique(const TaskSetting& setting);
std::vector<Sample> make_multifieldqa(const TaskSetting& setting);
std::vector<Sample> make_narrativeqa(const TaskSetting& setting);
std::vector<Sample> make_triviaqa(
    const TaskSetting& setting);  // few-shot, shown without a chat's turns as LongBench does
std::vector<Sample> make_passage_retrieval(const TaskSetting& setting);
// More questions of the same two kinds, for intervals that mean something; not LongBench's own records. HotpotQA with
// its ten passages, and those among others up to about 4 thousand and 9 thousand words.
std::vector<Sample> make_hotpotqa_10p(const TaskSetting& setting);
std::vector<Sample> make_hotpotqa_4k(const TaskSetting& setting);
std::vector<Sample> make_hotpotqa_9k(const TaskSetting& setting);
std::vector<Sample> make_qasper_freeform(const TaskSetting& setting);

// LongBench's retrieval score: the share of the answer's numbers that are the right paragraph's.
std::vector<double> mark_paragraph(const Sample& sample, std::string_view answer);

}  // namespace kvpareto
