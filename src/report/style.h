#pragma once
// The look of the page and the little script behind its tooltips, filters and sorting; embedded whole, nothing fetched.

namespace kvpareto {

extern const char* const kStyle;
extern const char* const kScript;

}  // namespace kvpareto
