#pragma once
// Studies for tests: made-up measurements that resemble real ones, the same on every run.

#include "report/report.h"

namespace kvpareto {

enum class Like {
  kSmall,  // a small llama: 4-bit keys lose little, 2-bit values break it
  kCliff   // a Qwen: 4-bit keys destroy it whatever the values
};

// K bits x V bits x groups at chunk 256, a few schemes at other chunks too, one failure, memory curves; probes of 24
// layers, of which a few stand out.
ReportInput synthetic_study(Like like);

// A finished measurement with the figures every chart needs. `texts` decides how the error is to be read.
Measurement synthetic_point(const std::string& kv, int chunk, double peak_bytes, double divergence, int texts = 8);

}  // namespace kvpareto
