#pragma once
// The table of KV Pareto (arXiv 2512.01953) for a model: the configuration that its grid would choose, and what a
// larger space adds at the same loss and at the same memory.

#include <string>
#include <vector>

#include "backend/backend.h"
#include "checkpoint/checkpoint.h"
#include "report/report.h"

namespace kvpareto {

// Bytes of the 16-bit model that reads its prompt in one piece: with attention that never holds its scores (fused), and
// with the scores of one layer in 16 bits beside it (heads x context x context), which is what the paper compares with.
struct PaperBaselines {
  double fused = 0, unfused = 0;
};
PaperBaselines paper_baselines(const Checkpoint& checkpoint, const Backend& backend, int context);

// Both baselines, the choice, and the best of all other points: for people. `input` is what the study holds at one
// regime, with the limits that the choice must keep to: the smallest of the grid that does.
std::string paper_table(const ReportInput& input, const Checkpoint& checkpoint, const Backend& backend);

}  // namespace kvpareto
