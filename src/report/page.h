#pragma once
// The sections of the page that are words and tables; html_report (page.cc) puts them around the charts.

#include <string>

#include "report/findings.h"

namespace kvpareto {

std::string headline(const Findings& findings);     // title, the answer, key numbers, the command
std::string point_table(const Findings& findings);  // every point, and the failures with their reasons
std::string method(const Findings& findings);       // how it was measured, caveats, glossary

// "Q4_1" from "SmolLM2-135M-Instruct.Q4_1.gguf": the quantisation a file's name tells of, upper case; empty if none.
std::string quantisation_in_name(const std::string& model);

}  // namespace kvpareto
